#!/usr/bin/env python3
"""What a ladder costs Weir, beside the ffmpeg command line that makes the same renditions, in one run on one machine.

In:  the release program and the clips `bench_*` of `tests/clips.sh bench`; an ffmpeg with libx264.
Out: for each source: CPU-seconds per stream-second and resident memory of both, their ratio; Weir's delay from a frame's
     arrival to its part, per rung; the time from publish to the entry playlist; SSIM and PSNR of each rung against the
     source scaled with lanczos; the cost of a transcoded 1080p top rung (a source with 10 s GOPs); with --fit, how many
     ladders this machine makes in real time.
How: every source is sent in real time; after a warm-up the processes are read from /proc at both ends of a window.
     Rounds alternate between Weir and ffmpeg, with ffmpeg's default scaler and with area, because the machine is
     shared: the best round of each counts, and all are printed. ffmpeg has its default AAC coder, decodes once, with one thread for the decoder and each
     encoder, and writes fragmented MP4 to memory where there is room.
All traffic stays on 127.0.0.1; only processes started here are stopped.
"""

import argparse
import contextlib
import datetime
import os
import re
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import (Weir, cpu_seconds, fail, fetch, output_of, print_target, push_command, quantiles, resident_mb, start,
                     temporary_folder, wait_until)
from quality import Copy, Rung, compare

CLIPS = Path("target/clips")
ENCODED_METRIC = "weir_transcode_delay_seconds"  # from a picture's arrival to its being encoded
PART_METRIC = "weir_part_delay_seconds"  # from the arrival of the last of a part's pictures to the part being fetchable
DELAY_METRICS = (ENCODED_METRIC, PART_METRIC)
DELAY_TARGET_MS = 150  # of the last picture; the part's first waits for the part besides, a third of a second
PART_MS = 334
START_TARGETS_S = {True: 2.5, False: 3.5}  # half a second after the second IDR picture, if it is passed through
CPU_TARGETS = {"bicubic": 0.9, "area": 1.0}  # ffmpeg's default scaler, and the one that Weir uses
SSIM_TARGET, PSNR_TARGET = 0.002, 0.1
# Amazon IVS's STANDARD ladder: height, frames a second, video and audio b/s; no audio rate: the source's own audio.
STANDARD = (Rung(720, 60, 3_400_000), Rung(720, 30, 2_400_000), Rung(480, 30, 1_400_000),
            Rung(360, 30, 630_000, 64_000), Rung(160, 30, 230_000, 48_000))
ROOM = 2**30


class Source:
    """A clip and the rungs below it; `top_bps`: its GOPs are too long to be passed through, so its size is a rung too."""

    def __init__(self, name, height, fps, top_bps=None):
        self.name, self.height, self.fps, self.clip = name, height, fps, CLIPS / f"bench_{name}.flv"
        self.rungs = [rung for rung in STANDARD if rung.height < height and (rung.height < 720 or rung.fps == fps)]
        self.is_passed = top_bps is None
        if top_bps:
            self.rungs.insert(0, Rung(height, fps, top_bps))


SOURCES = [Source("1080p30", 1080, 30), Source("720p30", 720, 30), Source("1080p60", 1080, 60),
           Source("1080p30_longgop", 1080, 30, top_bps=4_500_000)]


class Ffmpeg:
    """The ffmpeg command line with one of its scalers and of its AAC coders."""

    def __init__(self, scaler, aac_coder):
        self.scaler, self.aac_coder, self.name = scaler, aac_coder, f"ffmpeg {scaler}"

    def command(self, source, folder):
        rungs = source.rungs
        pads = "".join(f"[in{n}]" for n in range(len(rungs)))
        filters = [f"[0:v]split={len(rungs)}{pads}"]
        outputs = []
        if source.is_passed:
            outputs += ["-map", "0", "-c", "copy", *fragmented(folder / "source.mp4")]
        for n, rung in enumerate(rungs):
            steps = [] if rung.fps >= source.fps else [f"framestep={source.fps // rung.fps}"]
            if rung.height != source.height:
                steps.append(f"scale={rung.width}:{rung.height}:flags={self.scaler}")
            filters.append(f"[in{n}]{','.join(steps) or 'null'}[out{n}]")
            rate = str(rung.video_bps)
            outputs += ["-map", f"[out{n}]", "-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency",
                        "-fps_mode", "passthrough", "-profile:v", "main", "-threads", "1", "-bf", "0", "-g", "1000", "-sc_threshold", "0", "-forced-idr", "1",
                        "-force_key_frames", "expr:gte(t,n_forced*2)", "-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-map", "0:a"]
            outputs += ["-c:a", "aac", "-aac_coder", self.aac_coder, "-b:a", str(rung.audio_bps)] if rung.audio_bps else ["-c:a", "copy"]
            outputs += fragmented(folder / f"{rung.name}.mp4")
        return ["ffmpeg", "-nostdin", "-loglevel", "warning", "-y", "-threads", "1", "-filter_complex_threads", "1", "-re",
                "-i", source.clip, "-filter_complex", ";".join(filters), *outputs]


def fragmented(path):
    return ["-f", "mp4", "-movflags", "+frag_keyframe+empty_moov+default_base_moof", path]


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"{output_of(options.weir, 'version').splitlines()[0]}; {output_of('ffmpeg', '-version').splitlines()[0]}; "
          f"{os.cpu_count()} cores; {options.rounds} rounds, windows of {options.seconds} s after {options.warm_up} s")
    for source in SOURCES:
        if source.name in options.sources:
            bench(source, options)
    if options.fit:
        fit(SOURCES[0], options)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [source.name for source in SOURCES]
    parser.add_argument("--weir", type=Path, default=Path("target/release/weir"))
    parser.add_argument("--sources", type=lambda text: text.split(","), default=names, help=f"of {','.join(names)}")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=15, help="length of a measuring window, and of the pictures compared")
    parser.add_argument("--warm-up", type=int, default=8, help="seconds from the first frame to the window")
    parser.add_argument("--aac-coder", default="twoloop", help="ffmpeg's; twoloop is its default, fast what Weir uses")
    parser.add_argument("--no-quality", action="store_true", help="leave SSIM and PSNR out")
    parser.add_argument("--fit", action="store_true", help="also find how many 1080p30 ladders fit")
    options = parser.parse_args()
    if unknown := set(options.sources) - set(names):
        parser.error(f"no such source: {', '.join(unknown)}")
    return options


def bench(source, options):
    """One source: costs in alternating rounds, then the quality of what came out."""
    rungs = ", ".join(f"{rung.name} {rung.video_bps / 1e6:g}M" for rung in source.rungs)
    print(f"\n## {source.name}: {'the source and ' if source.is_passed else ''}{rungs}")
    print(f"{'':<16}{'CPU-s/stream-s':>15}{'RSS MB':>8}")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder(ROOM))
        encoders = [Ffmpeg(scaler, options.aac_coder) for scaler in CPU_TARGETS]
        results = {}
        for _ in range(options.rounds):
            show(results, "weir", run_weir(source, 1, options, folder))
            for encoder in encoders:
                show(results, encoder.name, run_ffmpeg(encoder, source, options, folder / encoder.scaler))
        best = {name: min(result["cpu"] for result in of_name) for name, of_name in results.items()}
        print_delays(results["weir"])
        wanted = len(source.rungs) + source.is_passed
        if results["weir"][-1]["variants"] != wanted:
            print(f"NOT COMPARABLE: weir makes {results['weir'][-1]['variants']} renditions, ffmpeg {wanted}")
        print("targets:")
        for encoder in encoders:
            print_target(f"CPU beside {encoder.name}", best["weir"] / best[encoder.name], CPU_TARGETS[encoder.scaler], "x")
        begun = min(result["start"] for result in results["weir"])
        print_target("publish to entry playlist", begun, START_TARGETS_S[source.is_passed], " s")
        if not options.no_quality:
            print_quality(source, encoders, folder, options)


def show(results, name, result):
    results.setdefault(name, []).append(result)
    print(f"{name:<16}{result['cpu']:>15.4f}{result['rss']:>8.0f}", flush=True)


def run_weir(source, count, options, room):
    """A server with `count` channels that each get the clip; the costs of one of them."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(fresh(room / "weir"))
        weir = Weir(options.weir, "STANDARD")
        urls = weir.start(stack, folder, count)
        pushers = [start(stack, push_command(source.clip, [url]), folder / f"pusher-{n}.log") for n, url in enumerate(urls)]
        wait_until(lambda: fetch(weir.channels[0]["playbackUrl"]), "an entry playlist", 30, folder)
        started = time.time() - published(folder / "server.log")
        wait_until(lambda: weir.live() == count, f"{count} live streams", 30, folder)
        time.sleep(options.warm_up)
        before = {metric: weir.delays_by_label(metric) for metric in DELAY_METRICS}
        result = measure(weir.pids(), options)
        if weir.live() != count or any(pusher.poll() is not None for pusher in pushers):
            fail(f"{weir.live()} of {count} streams live at the end of the window", folder)
        result["cpu"] /= count
        result["start"] = started
        result["delays"] = {}
        for metric in DELAY_METRICS:
            for labels, after in weir.delays_by_label(metric).items():
                result["delays"][metric, labels] = quantiles(before[metric].get(labels, {}), after)
        lists = [Copy(channel["playbackUrl"], folder).variants() for channel in weir.channels]
        result["troubles"] = troubles(weir, lists)
        result["variants"] = len(lists[0])
        return result


def published(log):
    """When the first publisher attached, in seconds since 1970."""
    line = next(line for line in log.read_text().splitlines() if "publisher attached" in line)
    return datetime.datetime.fromisoformat(line.split()[0].replace("Z", "+00:00")).timestamp()


def run_ffmpeg(encoder, source, options, folder):
    """The renditions stay in `folder`; the last round's are compared."""
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        process = start(stack, encoder.command(source, folder), folder / "ffmpeg.log")
        time.sleep(options.warm_up)
        result = measure([process.pid], options)
        if process.poll() is not None:
            fail("ffmpeg ended before the window did", folder)
        return result


def measure(pids, options):
    cpu, began = cpu_seconds(pids), time.monotonic()
    time.sleep(options.seconds)
    return {"cpu": (cpu_seconds(pids) - cpu) / (time.monotonic() - began), "rss": resident_mb(pids)}


@contextlib.contextmanager
def fresh(folder):
    """An empty folder for a data directory, removed afterwards."""
    with contextlib.ExitStack() as stack:
        stack.callback(output_of, "rm", "-rf", folder)
        folder.mkdir()
        yield folder


def troubles(weir, lists):
    """What tells of an overload, where it is above zero: gaps in playlists, counters with their labels."""
    gaps = sum((fetch(url) or "").count("GAP=YES") for variants in lists for url in variants.values())
    pattern = re.compile(r"^(weir_(?:rungs_shed|transcode_(?:losses|restarts|lost_frames|audio_\w+))_total(?:{.*})?) (\S+)$", re.MULTILINE)
    counted = {name: float(value) for name, value in pattern.findall(weir.metrics())}
    return {name: value for name, value in {"gaps": gaps, **counted}.items() if value > 0}


def print_delays(results):
    """The delays of the last round; the target holds for each rung's parts."""
    last = results[-1]
    for (metric, labels), found in sorted(last["delays"].items()):
        if found:
            print(f"{metric}{{{labels}}}: p50 {found[0]:.1f} ms, p99 {found[1]:.1f} ms")
            if metric == PART_METRIC:
                print_target("  p99", found[1], DELAY_TARGET_MS, " ms")
    for metric in DELAY_METRICS:
        if not any(found for (of, _), found in last["delays"].items() if of == metric):
            print(f"{metric} is not among the metrics")
    if last["troubles"]:
        print(f"overload: {last['troubles']}")


def print_quality(source, encoders, folder, options):
    """SSIM and PSNR of Weir's renditions, fetched as a viewer does, beside ffmpeg's of the same frames."""
    copies = folder / "copies"
    copies.mkdir()
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(fresh(folder / "weir"))
        weir = Weir(options.weir, "STANDARD")
        [url] = weir.start(stack, data, 1)
        start(stack, push_command(source.clip, [url]), data / "pusher.log")
        wait_until(lambda: weir.live() == 1, "a live stream", 30, data)
        try:
            Copy(weir.channels[0]["playbackUrl"], copies).run(options.seconds)
        except OSError as error:
            fail(f"copying the renditions: {error}; the server's exit status: {weir.process.poll()}", data)
    missing = [rung.name for rung in source.rungs if not (copies / f"{rung.name}.mp4").exists()]
    if missing:
        print(f"NOT COMPARABLE: weir has no {', '.join(missing)}, only {', '.join(sorted(path.stem for path in copies.iterdir()))}")
        return
    print(f"{'':<10}{'':<16}{'kb/s':>8}{'SSIM':>9}{'PSNR dB':>9}")
    worst = {encoder.name: [0.0, 0.0] for encoder in encoders}
    for rung in source.rungs:
        own = show_quality("weir", rung, source, copies / f"{rung.name}.mp4", options.seconds)
        for encoder in encoders:
            media = folder / encoder.scaler / f"{rung.name}.mp4"
            other = show_quality(encoder.name, rung, source, media, options.seconds)
            lost = worst[encoder.name]
            lost[:] = max(lost[0], other.ssim - own.ssim), max(lost[1], other.psnr - own.psnr)
    for name, (ssim, psnr) in worst.items():
        print(f"  below {name}: SSIM {ssim:.4f}, target {SSIM_TARGET}: {verdict(ssim, SSIM_TARGET)}; "
              f"PSNR {psnr:.2f} dB, target {PSNR_TARGET}: {verdict(psnr, PSNR_TARGET)}")


def show_quality(name, rung, source, media, seconds):
    found = compare(media, rung, source.clip, source.fps, seconds)
    print(f"{rung.name:<10}{name:<16}{found.kbps:>8.0f}{found.ssim:>9.4f}{found.psnr:>9.2f}", flush=True)
    return found


def verdict(value, target):
    return "met" if value <= target else "MISSED"


def fit(source, options):
    """Adds ladders until one is shed or falls behind."""
    print(f"\n## How many {source.name} ladders fit", flush=True)
    with temporary_folder(ROOM) as folder:
        for count in range(1, 17):
            result = run_weir(source, count, options, folder)
            late = [f"{labels} {found[1]:.0f} ms" for (metric, labels), found in result["delays"].items()
                    if metric == PART_METRIC and found and found[1] > DELAY_TARGET_MS]
            trouble = result["troubles"] or late
            print(f"{count:>3} ladders: {result['cpu'] * count:.2f} of {os.cpu_count()} cores, {result['rss']:.0f} MB: "
                  f"{trouble or 'in real time'}", flush=True)
            if trouble:
                return


if __name__ == "__main__":
    main()
