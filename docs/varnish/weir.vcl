# Weir behind Varnish 7: each playlist, part and segment comes from the origin once, however many watch.
# Why each line is what it is: docs/caching.md. tests/it/varnish.rs runs this file.
vcl 4.1;

import std;

backend weir {
    .host = "127.0.0.1";
    .port = "8080";
    # A playlist or part that is asked for early is held for up to three target durations, which are 30 s at most.
    .first_byte_timeout = 35s;
    .between_bytes_timeout = 35s;
}

sub vcl_recv {
    # What is played in a viewer session is the same for all of them.
    if (req.url ~ "^/api/video/v1/s/" && (req.method == "GET" || req.method == "HEAD")) {
        unset req.http.Cookie;
        unset req.http.Authorization;
        if (req.url ~ "\.(m4s|mp4)(\?|$)") {
            set req.url = regsub(req.url, "\?.*$", "");
        } else {
            set req.url = std.querysort(req.url);
        }
        return (hash);
    }
    # The multivariant playlist begins a session; the API, chat and the pages are not Varnish's business.
    return (pass);
}

sub vcl_hash {
    hash_data(regsub(req.url, "^/api/video/v1/s/[^/]+/", "/api/video/v1/s/-/"));
    return (lookup);
}

sub vcl_backend_response {
    # What is over is over: a stale playlist would send players back.
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (bereq.uncacheable || beresp.http.Cache-Control ~ "private") {
        set beresp.uncacheable = true;
        return (deliver);
    }
    # A segment that is being made: all who ask meanwhile share the answer from its first byte on.
    if (beresp.status == 200 && bereq.url ~ "\.m4s$" && beresp.http.Cache-Control ~ "no-store") {
        set beresp.ttl = 10s;
        return (deliver);
    }
    # The stream does not go on: asked again in a second, by one.
    if (beresp.status == 503) {
        set beresp.ttl = 1s;
        return (deliver);
    }
}
