//! Boxes within bytes, and big-endian fields within boxes.
//!
//! In:  bytes. Out: one box after the other; none of what does not fit.

/// One box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) kind: [u8; 4],
    /// Of its header, from the start of the walked bytes.
    pub(super) offset: usize,
    pub(super) body: &'a [u8],
    /// From the start of the walked bytes.
    pub(super) body_offset: usize,
}

impl Found<'_> {
    pub(super) fn name(&self) -> String {
        String::from_utf8_lossy(&self.kind).into_owned()
    }
}

/// The boxes of `bytes` in order; an error, the last item, for a box that passes the end.
pub(super) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Result<Found<'_>, String>> {
    let mut offset = 0usize;
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let at = offset;
        let Some(found) = split(rest, at) else {
            offset = bytes.len();
            return Some(Err(format!(
                "the box at byte {at} passes the end at byte {}",
                bytes.len()
            )));
        };
        offset = found.body_offset.saturating_add(found.body.len());
        Some(Ok(found))
    })
}

/// The bodies of the direct children of one kind.
pub(super) fn children(body: &[u8], kind: [u8; 4]) -> impl Iterator<Item = &[u8]> {
    let found = boxes(body).map_while(Result::ok);
    found
        .filter(move |found| found.kind == kind)
        .map(|found| found.body)
}

/// The body of the first box reached by `path`.
pub(super) fn descend<'a>(body: &'a [u8], path: &[[u8; 4]]) -> Option<&'a [u8]> {
    path.iter()
        .try_fold(body, |body, kind| children(body, *kind).next())
}

fn split(rest: &[u8], offset: usize) -> Option<Found<'_>> {
    let mut fields = Fields(rest);
    let size = usize::try_from(fields.u32()?).ok()?;
    let kind = fields.u32()?.to_be_bytes();
    let (size, header) = match size {
        0 => (rest.len(), 8usize),
        1 => (usize::try_from(fields.u64()?).ok()?, 16),
        size => (size, 8),
    };
    let body = rest.get(header..size)?;
    Some(Found {
        kind,
        offset,
        body,
        body_offset: offset.saturating_add(header),
    })
}

/// Reads fields from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn skip(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.skip(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let bytes = self.skip(2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let bytes = self.skip(4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let bytes = self.skip(8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    }

    /// Version and flags of a full box.
    pub(super) fn full(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        let [version, ..] = word.to_be_bytes();
        Some((version, word & 0x00ff_ffff))
    }

    /// A field that is 64 bits wide in version 1.
    pub(super) fn wide(&mut self, version: u8) -> Option<u64> {
        if version == 1 {
            self.u64()
        } else {
            self.u32().map(u64::from)
        }
    }
}
