//! riskgate
pub mod facts;
