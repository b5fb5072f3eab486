//! stand-in
pub type Full = Option<(u64, u64)>;
