//! Nothing is here but a place for cargo to hang the tests in this folder on.
