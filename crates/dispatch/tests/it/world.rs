//! A run, its policy, and a bus between them.
