//! The few calls of libav that `ffmpeg_next` does not wrap: the one file with `unsafe`.
//!
//! In:  contexts of `ffmpeg_next`. Out: fields of them that have no safe accessor.
//! Not here: what the fields mean; anything `ffmpeg_next` can do.
#![expect(
    unsafe_code,
    reason = "fields of libav's structures without a safe accessor"
)]

use std::sync::Once;

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::Context;
use ffmpeg::software::scaling;
use ffmpeg::{ffi, frame};

/// Zero bytes that libav wants behind extradata, so that its bit readers may read too far.
const PADDING: usize = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;

/// Sets what libav keeps for the whole process, once. It is silenced: what it would print about a
/// broken frame is counted and reported by us.
pub(super) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
        // Without that its errors have no words.
        ffmpeg::error::register_all();
        avoid_gathers();
    });
}

/// Keeps swscale from the AVX2 instruction that gathers bytes from memory, which it prefers for
/// widths that are multiples of 16: from 1080p to 720p the code without it took half the time (AMD
/// Zen 5, FFmpeg 5.1). For the whole process, from the next scaling context on.
fn avoid_gathers() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    // SAFETY: both calls take and return plain numbers, and are atomic; one true flag more is forced.
    unsafe { ffi::av_force_cpu_flags(ffi::av_get_cpu_flags() | ffi::AV_CPU_FLAG_SLOW_GATHER) }
}

/// A scaling context that may be given to another thread.
pub(super) struct Scaling(pub(super) scaling::Context);

// SAFETY: a context of libswscale belongs to no thread: all its state is in its own memory. What it
// does takes an exclusive reference, so that two threads never use it at once.
unsafe impl Send for Scaling {}

/// Gives a codec context, before it is opened, the configuration that comes out of band: an
/// `AudioSpecificConfig`, or an `avcC`.
pub(super) fn set_extradata(context: &mut Context, bytes: &[u8]) -> Result<(), ffmpeg::Error> {
    let size = i32::try_from(bytes.len()).map_err(|_| ffmpeg::Error::InvalidData)?;
    // SAFETY: av_mallocz takes any size and returns null or that many zeroed bytes.
    let copy = unsafe { ffi::av_mallocz(bytes.len() + PADDING) }.cast::<u8>();
    if copy.is_null() {
        return Err(ffmpeg::Error::Other {
            errno: ffmpeg::error::ENOMEM,
        });
    }
    // SAFETY: `copy` has room for all bytes and overlaps nothing. The context is alive and
    // exclusively ours; its old extradata (null at first) came from av_malloc, as the field's
    // contract says, and libav frees the new one together with the context.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len());
        let context = context.as_mut_ptr();
        ffi::av_freep((&raw mut (*context).extradata).cast());
        (*context).extradata = copy;
        (*context).extradata_size = size;
    }
    Ok(())
}

/// Makes a decoder refuse pictures of more than `pixels`, whatever the stream asks for: to be called
/// before it is opened.
pub(super) fn limit_pixels(context: &mut Context, pixels: u32) {
    // SAFETY: the context is alive and exclusively ours; the field is a plain number.
    unsafe { (*context.as_mut_ptr()).max_pixels = i64::from(pixels) }
}

/// The configuration that an opened encoder wrote; empty if there is none.
pub(super) fn extradata(context: &Context) -> &[u8] {
    // SAFETY: the context is alive as long as the borrow; `extradata` is null or points to
    // `extradata_size` bytes, which no safe call changes while the context is borrowed.
    unsafe {
        let context = context.as_ptr();
        let size = usize::try_from((*context).extradata_size).unwrap_or(0);
        if (*context).extradata.is_null() || size == 0 {
            return &[];
        }
        std::slice::from_raw_parts((*context).extradata, size)
    }
}

/// Samples that an opened audio encoder puts before the first one it was given.
pub(super) fn initial_padding(context: &Context) -> i64 {
    // SAFETY: the context is alive; the field is a plain number.
    i64::from(unsafe { (*context.as_ptr()).initial_padding })
}

/// A second handle on the same picture, with properties of its own.
pub(super) fn reference(picture: &frame::Video) -> Result<frame::Video, ffmpeg::Error> {
    let mut copy = frame::Video::empty();
    // SAFETY: both frames are alive, `copy` is empty and ours; av_frame_ref counts the buffers'
    // owners and leaves `copy` empty when it fails.
    match unsafe { ffi::av_frame_ref(copy.as_mut_ptr(), picture.as_ptr()) } {
        0.. => Ok(copy),
        code => Err(ffmpeg::Error::from(code)),
    }
}

/// Gives a picture the time, colours and side data (captions) of another, in place of what it had.
pub(super) fn copy_properties(
    from: &frame::Video,
    to: &mut frame::Video,
) -> Result<(), ffmpeg::Error> {
    // SAFETY: both frames are alive and different, `to` is exclusively ours. Its list of side data is as long as it says
    // at each look: removing a kind shortens it by one or more. Copying touches neither's planes.
    let code = unsafe {
        let to = to.as_mut_ptr();
        for _ in 0..(*to).nb_side_data {
            if (*to).nb_side_data > 0 {
                let kind = (**(*to).side_data).type_;
                ffi::av_frame_remove_side_data(to, kind);
            }
        }
        ffi::av_frame_copy_props(to, from.as_ptr())
    };
    match code {
        0.. => Ok(()),
        code => Err(ffmpeg::Error::from(code)),
    }
}

/// Whether nobody else holds the picture's planes.
pub(super) fn is_writable(picture: &mut frame::Video) -> bool {
    // SAFETY: the frame is alive and exclusively ours; the call reads reference counts only.
    unsafe { ffi::av_frame_is_writable(picture.as_mut_ptr()) > 0 }
}

/// Whether a codec has a private option of this name; libav drops unknown ones without a word.
#[cfg(test)]
pub(super) fn has_private_option(context: &Context, name: &str) -> bool {
    let Ok(name) = std::ffi::CString::new(name) else {
        return false;
    };
    // SAFETY: the context is alive; `priv_data` of a context that was made for a codec with private
    // options begins with an AVClass, as av_opt_find wants, and null is not looked at.
    unsafe {
        let options = (*context.as_ptr()).priv_data;
        !options.is_null()
            && !ffi::av_opt_find(options, name.as_ptr(), std::ptr::null(), 0, 0).is_null()
    }
}
