//! The gateway: verifies, wakes, forwards; holds no database.
