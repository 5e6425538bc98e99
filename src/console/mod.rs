//! (skeleton)

/// skeleton
pub fn router() -> axum::Router {
    axum::Router::new()
}
