//! Assembles everything, in order: state (`open`), what is told of it (`info`), the server
//! (`serve`). Not here: the command line (`cli`).

pub mod credentials;
pub mod dev_cert;
pub mod info;
pub mod open;
pub mod serve;
mod private_file;

pub use serve::serve;
