//! Tests of the command line as a whole: the tree, what it asks of the API, and what it does when the answer is bad.
mod calls;
mod exits;
mod fake;
mod faults;
mod prints;
mod tree;
