//! The rules of files.md, as far as this room keeps them alone. Each file is a chapter; each test's name is the rule.

mod house;
mod memory;

mod backends;
mod commits;
mod ending;
mod links;
mod locking;
mod names;
mod quota;
mod replacing;
mod resumes;
mod rights;
mod sweeping;
mod trees;
