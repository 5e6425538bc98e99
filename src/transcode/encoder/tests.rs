use super::*;
use crate::media::codec::video::Coding;
use crate::transcode::decoder::VideoDecoder;
use crate::transcode::scaler::Scaler;
use ffmpeg::frame;

pub(in crate::transcode) fn settings(width: u16, height: u16) -> VideoSettings {
    VideoSettings {
        width,
        height,
        fps_millis: 30_000,
        bitrate_bps: 400_000,
        preset: "superfast".to_owned(),
        profile: "main",
        segment_ms: 2000,
        colour: Colour {
            primaries: 1,
            transfer: 1,
            matrix: 1,
        },
    }
}

/// A picture whose luma is a moving pattern.
pub(in crate::transcode) fn pattern(width: u32, height: u32, n: i64) -> RawFrame {
    let mut picture = frame::Video::new(format::Pixel::YUV420P, width, height);
    for plane in 0..3 {
        let stride = picture.stride(plane);
        for (at, pixel) in picture.data_mut(plane).iter_mut().enumerate() {
            let (x, y) = (at % stride, at / stride);
            let moved = x + usize::try_from(n).unwrap() * 3;
            *pixel = u8::try_from(((moved * 5) ^ (y * 3)) % 200 + 20).unwrap();
        }
    }
    RawFrame::new(picture, n * 3000)
}

/// `count` pictures of one GOP, every second one a B picture, `step` ticks apart, in decoding order.
pub(in crate::transcode) fn with_b_pictures(
    count: i64,
    step: i64,
) -> (Arc<VideoConfig>, Vec<Sample>) {
    ffi::init();
    let codec = ffmpeg::encoder::find_by_name("libx264").unwrap();
    let mut context = codec::Context::new_with_codec(codec);
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut encoder = context.encoder().video().unwrap();
    encoder.set_width(320);
    encoder.set_height(180);
    encoder.set_format(format::Pixel::YUV420P);
    encoder.set_time_base(Rational(1, 90_000));
    encoder.set_max_b_frames(1);
    let params = "annexb=0:b-adapt=0:keyint=1000:scenecut=0";
    let options = Dictionary::from_iter([("preset", "superfast"), ("x264-params", params)]);
    let mut encoder = encoder.open_as_with(codec, options).unwrap();
    let record = parameter_sets::record(ffi::extradata(&encoder)).unwrap();
    let mut samples = Vec::new();
    for n in 0..=count {
        if n < count {
            let mut picture = ffi::reference(&pattern(320, 180, n).picture).unwrap();
            picture.set_pts(Some(n * step));
            encoder.send_frame(&picture).unwrap();
        } else {
            encoder.send_eof().unwrap();
        }
        let mut packet = Packet::empty();
        while encoder.receive_packet(&mut packet).is_ok() {
            samples.push(Sample {
                track: TrackKind::Video,
                dts: packet.pts().unwrap(),
                composition_offset: 0,
                is_sync: samples.is_empty(),
                data: Bytes::copy_from_slice(packet.data().unwrap()),
            });
        }
    }
    (Arc::new(avc::parse(&record).unwrap()), samples)
}

#[test]
fn libx264_knows_all_private_options() {
    ffi::init();
    let codec = ffmpeg::encoder::find_by_name("libx264").unwrap();
    let context = codec::Context::new_with_codec(codec);
    let settings = settings(320, 180);
    for (name, _) in settings.options().iter() {
        assert!(ffi::has_private_option(&context, name), "{name}");
    }
    assert!(!ffi::has_private_option(&context, "forced_idr"));
}

#[test]
fn each_frame_is_a_sample_at_once_and_keyframes_are_where_they_are_asked_for() {
    let mut encoder = X264Encoder::open(&settings(320, 180)).unwrap();
    let config = Arc::clone(encoder.config());
    assert_eq!((config.width, config.height), (320, 180));
    let Coding::Avc(coding) = config.coding else {
        panic!("{config:?}");
    };
    assert_eq!(coding.nal_length_bytes, 4);
    assert_eq!(config.codec_string(), "avc1.4D400D");
    assert_eq!(config.picture.colour, settings(320, 180).colour);
    let (mut keyframes, mut bytes) = (Vec::new(), 0);
    for n in 0..300 {
        let is_keyframe = n % 60 == 0 || n == 100;
        let sample = encoder
            .encode(&pattern(320, 180, n), is_keyframe)
            .unwrap()
            .unwrap();
        assert_eq!((sample.dts, sample.composition_offset), (n * 3000, 0));
        // Length prefixes, and the flag says what is inside.
        assert_eq!(config.is_sync(&sample.data), Ok(sample.is_sync));
        if sample.is_sync {
            keyframes.push(n);
        }
        bytes += sample.data.len();
    }
    assert_eq!(keyframes, [0, 60, 100, 120, 180, 240]);
    let bps = bytes * 8 / 10;
    assert!((100_000..520_000).contains(&bps), "{bps} bits per second");
}

/// A picture of noise, which no encoder foresees.
fn noise(width: u32, height: u32, n: i64) -> RawFrame {
    let mut frame = frame::Video::new(format::Pixel::YUV420P, width, height);
    let mut state = u64::try_from(n).unwrap() * 0x9e37_79b9 + 1;
    for plane in 0..3 {
        for pixel in frame.data_mut(plane) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *pixel = state.to_le_bytes()[4];
        }
    }
    RawFrame::new(frame, n * 3000)
}

#[test]
fn a_scene_cut_is_no_keyframe_and_a_burst_is_held_to_the_rate() {
    let mut encoder = X264Encoder::open(&settings(320, 180)).unwrap();
    let mut bits = Vec::new();
    for n in 0..180 {
        // Four seconds of next to nothing, then of noise.
        let mut frame = noise(320, 180, n);
        if n < 120 {
            let mut grey = frame::Video::new(format::Pixel::YUV420P, 320, 180);
            (0..3).for_each(|plane| grey.data_mut(plane).fill(128));
            frame = RawFrame::new(grey, n * 3000);
        }
        let sample = encoder.encode(&frame, n == 0).unwrap().unwrap();
        // The backup keyframes come 76 pictures after the last.
        assert_eq!(sample.is_sync, n % 76 == 0, "picture {n}");
        bits.push(sample.data.len() * 8);
    }
    let rate = usize::try_from(settings(320, 180).bitrate_bps).unwrap();
    let second = |from: usize| bits[from..from + 30].iter().sum::<usize>();
    assert!(second(40) < rate / 4, "{} bits", second(40));
    // What the buffer of a second had saved up, and a second's worth.
    let most = (0..=150).map(second).max().unwrap();
    assert!(
        (rate / 2..2 * rate).contains(&most),
        "{most} bits in a second"
    );
    assert!(second(150) < rate * 5 / 4, "{} bits at last", second(150));
}

#[test]
fn equal_settings_give_equal_configurations() {
    let open = || {
        X264Encoder::open(&settings(284, 160))
            .unwrap()
            .config()
            .bytes
            .clone()
    };
    assert_eq!(open(), open());
}

#[test]
fn a_keyframe_that_is_never_asked_for_comes_late_by_itself() {
    let mut encoder = X264Encoder::open(&settings(160, 90)).unwrap();
    let mut keyframes = Vec::new();
    for n in 0..200 {
        let sample = encoder
            .encode(&pattern(160, 90, n), n == 0)
            .unwrap()
            .unwrap();
        if sample.is_sync {
            keyframes.push(n);
        }
    }
    assert_eq!(keyframes, [0, 76, 152]);
}

#[test]
fn what_is_encoded_decodes_to_the_same_times_and_nearly_the_same_pictures() {
    let mut encoder = X264Encoder::open(&settings(160, 90)).unwrap();
    let mut decoder = VideoDecoder::open(encoder.config(), 30_000, u32::MAX).unwrap();
    let mut frames = Vec::new();
    for n in 0..50 {
        let sample = encoder
            .encode(&pattern(160, 90, n), n == 0)
            .unwrap()
            .unwrap();
        frames.extend(decoder.decode(&sample).unwrap());
    }
    frames.extend(decoder.drain().unwrap());
    let times: Vec<_> = frames.iter().map(RawFrame::pts).collect();
    assert_eq!(times, (0..50).map(|n| n * 3000).collect::<Vec<_>>());
}

/// Mean luma of a picture.
fn luma(frame: &RawFrame) -> u64 {
    let picture = &frame.picture;
    let (width, stride) = (usize::try_from(picture.width()).unwrap(), picture.stride(0));
    let rows = picture
        .data(0)
        .chunks(stride)
        .take(usize::try_from(picture.height()).unwrap());
    let sum: u64 = rows
        .flat_map(|row| &row[..width])
        .map(|p| u64::from(*p))
        .sum();
    sum / u64::from(picture.width() * picture.height())
}

fn flat(format: format::Pixel, bytes: &[u8]) -> RawFrame {
    let mut picture = frame::Video::new(format, 322, 182);
    for plane in 0..picture.planes() {
        let value = bytes.iter().copied().cycle();
        for (pixel, value) in picture.data_mut(plane).iter_mut().zip(value) {
            *pixel = value;
        }
    }
    RawFrame::new(picture, 0)
}

#[test]
fn every_form_of_input_becomes_8_bit_4_2_0_of_the_right_levels() {
    use color::Range::{JPEG, MPEG};
    use format::Pixel;
    // 10 bit 512 is 8 bit 128; full range 255, or 1023, is limited range 235.
    for (format, range, bytes, expected) in [
        (Pixel::YUV420P, MPEG, &[128_u8][..], 128),
        (Pixel::YUV422P, MPEG, &[128], 128),
        (Pixel::YUV444P, MPEG, &[128], 128),
        (Pixel::YUV420P10LE, MPEG, &[0, 2], 128),
        (Pixel::YUV422P10LE, MPEG, &[0, 2], 128),
        (Pixel::YUVJ420P, JPEG, &[255], 235),
        (Pixel::YUVJ420P, JPEG, &[0], 16),
        (Pixel::YUV420P, JPEG, &[255], 235),
        (Pixel::YUV444P, JPEG, &[0], 16),
        (Pixel::YUV420P10LE, JPEG, &[255, 3], 235),
        (Pixel::YUV422P10LE, JPEG, &[0, 0], 16),
        (Pixel::YUV420P10LE, JPEG, &[0, 2], 126),
    ] {
        let mut input = flat(format, bytes);
        let picture = Arc::get_mut(&mut input.picture).unwrap();
        picture.set_color_range(range);
        for (width, height) in [(160, 90), (322, 182)] {
            let mut scaler = Scaler::new(width, height);
            let scaled = scaler.scale(&input).unwrap();
            let case = format!("{format:?} {range:?} to {width}");
            assert_eq!(scaled.picture.format(), Pixel::YUV420P, "{case}");
            let size = (scaled.picture.width(), scaled.picture.height());
            assert_eq!(size, (width.into(), height.into()), "{case}");
            let luma = luma(&scaled);
            assert!(luma.abs_diff(expected) <= 1, "{case}: {luma}");
        }
    }
}

#[test]
fn the_scaler_follows_its_input_and_uses_memory_again() {
    let mut scaler = Scaler::new(160, 90);
    for (width, height) in [(320, 180), (640, 360), (161, 91), (320, 180)] {
        let scaled = scaler.scale(&pattern(width, height, 1)).unwrap();
        assert_eq!((scaled.picture.width(), scaled.picture.height()), (160, 90));
    }
    let first = scaler.scale(&pattern(320, 180, 1)).unwrap();
    let memory = |frame: &RawFrame| frame.picture.data(0).as_ptr();
    let (held, address) = (first.clone(), memory(&first));
    let second = scaler.scale(&pattern(320, 180, 2)).unwrap();
    assert_ne!(memory(&second), address, "the first is still held");
    drop((first, held));
    let address = memory(&second);
    drop(second);
    assert_eq!(
        memory(&scaler.scale(&pattern(320, 180, 3)).unwrap()),
        address
    );
    let shown = pattern(320, 180, 3);
    let once = scaler.scale(&shown).unwrap();
    let again = scaler.scale(&shown.at(99_000)).unwrap();
    assert!(Arc::ptr_eq(&once.picture, &again.picture) && again.pts() == 99_000);
    let fitting = pattern(160, 90, 4);
    assert_eq!(
        memory(&scaler.scale(&fitting).unwrap()),
        memory(&fitting),
        "as it is"
    );
}

#[test]
fn pictures_beyond_the_limit_are_not_decoded() {
    for (height, expected) in [(2304, 1), (2320, 0)] {
        let mut encoder = X264Encoder::open(&settings(4096, height)).unwrap();
        let mut decoder = VideoDecoder::open(encoder.config(), 30_000, u32::MAX).unwrap();
        let large = pattern(4096, height.into(), 0);
        let sample = encoder.encode(&large, true).unwrap().unwrap();
        let mut frames = decoder.decode(&sample).unwrap();
        frames.extend(decoder.drain().unwrap());
        assert_eq!(frames.len(), expected, "{height} lines");
    }
}

#[test]
fn garbage_is_no_picture_and_no_end() {
    let mut encoder = X264Encoder::open(&settings(160, 90)).unwrap();
    let mut decoder = VideoDecoder::open(encoder.config(), 30_000, u32::MAX).unwrap();
    let mut count = 0;
    for n in 0..60 {
        let mut sample = encoder
            .encode(&pattern(160, 90, n), n % 30 == 0)
            .unwrap()
            .unwrap();
        if n % 7 == 3 {
            let garbage: Vec<u8> = (0..200_u8).map(|b| b.wrapping_mul(37)).collect();
            sample.data = garbage.into();
        }
        count += decoder.decode(&sample).unwrap().len();
    }
    count += decoder.drain().unwrap().len();
    assert!((40..=60).contains(&count), "{count}");
}
