"""What honest clients notice of attacks, and what attacks cost the proxy."""
