//! Footing: DNS record types as values, presentation form to wire form and back.
//! Wire is uncompressed and its names are lower-case, so equal data has equal octets. Never a message, a zone or the network.
mod data;
mod field;
mod lexer;
mod loc;
mod name;
mod rtype;
mod shape;
mod svcb;
mod wks;
pub mod zonefile;

pub use data::{DataError, check_data, parse_data, present_data, targets};
pub use name::{Labels, Name, NameError, take_name};
pub use rtype::{RecordType, UnknownType};
