//! The program `envforge`.
