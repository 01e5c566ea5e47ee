//! Maps what the command line came to onto the exit code.

fn main() {}
