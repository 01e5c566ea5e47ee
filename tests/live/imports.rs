//! Configurations such as people run them: what `ringway import` makes of one sends each request where the original
//! does, and says what it does not carry over.

mod envoy;
mod haproxy;
mod nginx;
