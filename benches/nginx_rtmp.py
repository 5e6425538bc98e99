"""nginx-rtmp as a peer: takes RTMP and writes HLS without encoding, as its documentation shows.

Debian's nginx with libnginx-mod-rtmp; 2 s segments of MPEG-TS.
"""

import os
import time

from harness import free_port, is_open, nginx_program, start, wait_until, worker_pids

WINDOW_SECONDS = 30  # of media in its playlists, as many as Weir lists


class NginxRtmp:
    """One worker; the interface of `harness.Weir`."""

    name = "nginx-rtmp"

    def start(self, stack, folder, count):
        port = free_port()
        self.hls = folder / "hls"
        (folder / "nginx.conf").write_text(f"""
            load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
            {"user root;" if os.getuid() == 0 else ""}
            daemon off;
            worker_processes 1;
            pid {folder}/nginx.pid;
            error_log {folder}/nginx.log warn;
            events {{ worker_connections 1024; }}
            rtmp {{
                access_log off;
                server {{
                    listen 127.0.0.1:{port};
                    application live {{
                        live on;
                        hls on;
                        hls_path {self.hls};
                        hls_fragment 2s;
                        hls_playlist_length {WINDOW_SECONDS}s;
                    }}
                }}
            }}""")
        command = [nginx_program(), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.log"]
        self.process = start(stack, command, folder / "server.log")
        wait_until(lambda: is_open(port), "nginx listens", 10, folder)
        return [f"rtmp://127.0.0.1:{port}/live/bench{n}" for n in range(count)]

    def live(self):
        """Streams whose playlist was written lately."""
        playlists = self.hls.glob("*.m3u8")
        return sum(time.time() - playlist.stat().st_mtime < 6 for playlist in playlists)

    def pids(self):
        return worker_pids(self.process)

    def delays(self, metric):
        return {}
