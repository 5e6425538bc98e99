//! Assembles everything, in order.

pub mod credentials;
pub mod info;
pub mod open;
mod private_file;

use crate::config::Config;

/// Serves until told to stop.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let opened = open::open(&config, &crate::base::clock::SystemClock).await?;
    let info = info::Info::gather(&opened).await?;
    crate::base::output::print(&info.to_string())?;
    Ok(())
}
