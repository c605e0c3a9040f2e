//! The actor in front of the store: order and group commit. It understands no payload.

pub mod actor;
pub mod requests;
#[cfg(test)]
mod tests;
