"""Proxies measured side by side: one module for each thing that `benches/side-by-side` has to know."""
