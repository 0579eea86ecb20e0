//! Ruche: a hosting node in one binary. `ARCHITECTURE.md` is the map; floors only go down.
#![forbid(unsafe_code)]
#![warn(unreachable_pub, missing_debug_implementations)]

pub mod acme;
pub mod admin;
pub mod api;
pub mod base;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod dns;
pub mod fetch;
pub mod files;
pub mod ftp;
pub mod model;
pub mod moves;
pub mod ops;
pub mod resolve;
pub mod rr;
pub mod seal;
pub mod store;
pub mod tls;
pub mod web;
