"""How good a rendition's pictures are: a copy of each as a viewer gets it, SSIM and PSNR against the scaled source."""

import re
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from urllib.parse import urljoin


@dataclass(frozen=True)
class Rung:
    """One encoded rendition of a 16:9 source."""

    height: int
    fps: int
    video_bps: int
    audio_bps: int = 0  # 0: the source's own

    @property
    def name(self):
        return f"{self.height}p{self.fps}"

    @property
    def width(self):
        """As Amazon IVS rounds it: even, not above the exact width."""
        return self.height * 16 // 9 // 2 * 2


class Copy:
    """A viewer that keeps every rendition of a live channel as a file, from the first segment on."""

    def __init__(self, playback_url, folder):
        self.playback_url, self.folder = playback_url, folder

    def run(self, seconds):
        """Ends when the longest rendition has so many seconds; files are named as the variants."""
        lists = self.variants()
        listed = {name: {} for name in lists}  # name -> URI -> duration
        deadline = time.monotonic() + seconds + 30
        while any(sum(segments.values()) < seconds for segments in listed.values()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"copied only {[sum(segments.values()) for segments in listed.values()]} s")
            for name, url in lists.items():
                self.take(name, url, listed[name])
            time.sleep(0.5)

    def variants(self):
        found, name = {}, None
        for line in fetch(self.playback_url).decode().splitlines():
            if line.startswith("#EXT-X-STREAM-INF:"):
                named = re.search(r'(?:IVS-NAME|VIDEO)="([^"]+)"', line)
                name = named[1] if named else f"variant{len(found)}"
            elif line and not line.startswith("#"):
                found[name] = urljoin(self.playback_url, line)
        return found

    def take(self, name, url, segments):
        duration = 0.0
        with open(self.folder / f"{name}.mp4", "ab") as file:
            for line in fetch(url).decode().splitlines():
                if line.startswith("#EXT-X-MAP:") and not segments:
                    file.write(fetch(urljoin(url, re.search(r'URI="([^"]+)"', line)[1])))
                elif line.startswith("#EXTINF:"):
                    duration = float(line[8:].split(",")[0])
                elif line and not line.startswith("#") and line not in segments:
                    file.write(fetch(urljoin(url, line)))
                    segments[line] = duration


@dataclass(frozen=True)
class Quality:
    """Means over all compared pictures; the rate is the video's."""

    ssim: float
    psnr: float
    kbps: float


def compare(media, rung, source, source_fps, seconds):
    """The rendition's pictures, from its first, against the source's, from its first, scaled with lanczos: both are
    matched by number, since every encoder here keeps each frame, or each second one."""
    every = max(1, source_fps // rung.fps)
    frames = seconds * rung.fps - 1
    number = f"settb=1/{rung.fps},setpts=N,trim=end_frame={frames}"
    graph = (f"[1:v]select='not(mod(n,{every}))',scale={rung.width}:{rung.height}:flags=lanczos+accurate_rnd+full_chroma_int,"
             f"format=yuv420p,{number},split[a][b];[0:v]format=yuv420p,{number},split[c][d];[c][a]ssim[x];[d][b]psnr[y]")
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "info", "-i", media, "-i", source, "-filter_complex", graph,
               "-map", "[x]", "-f", "null", "-", "-map", "[y]", "-f", "null", "-"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    ssim = re.search(r"SSIM .*All:([\d.]+|inf)", done.stderr)
    psnr = re.search(r"PSNR .*average:([\d.]+|inf)", done.stderr)
    return Quality(float(ssim[1]), float(psnr[1]), video_kbps(media, seconds))


def video_kbps(media, seconds):
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time,size", "-of", "csv=p=0", media]
    text = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
    packets = [line.rstrip(",").split(",") for line in text.splitlines()]
    begin = min(float(at) for at, _ in packets)
    return sum(int(size) for at, size in packets if float(at) - begin < seconds) * 8 / seconds / 1000


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read()
