//! Stones: what every floor may lean on. Names parsed once, ids, named limits, the clock. No IO beyond reading the clock.
pub mod clock;
pub mod ids;
pub mod limits;
pub mod names;
pub mod sizes;
pub mod version;
