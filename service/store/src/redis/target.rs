//! stand-in
pub struct Target {
    pub url: String,
}
