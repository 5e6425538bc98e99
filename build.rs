//! Rebuilds the crate when the site was built: the release binary carries `web/dist`.

fn main() {
    // A folder that is not there cannot be watched, but its making changes `web`.
    let is_built = std::path::Path::new("web/dist").is_dir();
    let watched = if is_built { "web/dist" } else { "web" };
    println!("cargo:rerun-if-changed={watched}");
}
