//! The live mirror as it lies in a folder: which renditions are there, and whether they have ended.

use std::path::{Path, PathBuf};

use super::eventually;

/// The one mirrored epoch's multivariant playlist under `store`, once all renditions have ended there.
pub(crate) async fn ended_mirror(store: &Path) -> PathBuf {
    eventually(30, "ENDLIST in the mirror", || async {
        let channel = entries(&store.join("live")).pop()?;
        let epoch = entries(&channel).pop()?;
        let lists = rendition_folders(&epoch)
            .into_iter()
            .map(|folder| std::fs::read_to_string(folder.join("live.m3u8")).unwrap_or_default());
        let lists: Vec<String> = lists.collect();
        let is_ended = |list: &String| list.contains("#EXT-X-ENDLIST");
        let multivariant = epoch.join("multivariant.m3u8");
        (multivariant.exists() && lists.iter().all(is_ended)).then_some(multivariant)
    })
    .await
}

/// The folder of each rendition of an epoch, by name.
pub(crate) fn rendition_folders(epoch: &Path) -> Vec<PathBuf> {
    let mut folders = entries(epoch);
    folders.retain(|path| path.is_dir());
    folders
}

/// What is in a folder, by name; nothing if there is none.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
