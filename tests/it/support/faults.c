/* Stands between the server and libavcodec (LD_PRELOAD) and does what files in the folder FAULTS say:
 *   encoder-HEIGHT-is-slow     while it is there, each picture of that size takes as long as three of thirty a second
 *   encoder-HEIGHT-fails.N     N from 0 to 9: taken away by the next picture of that size, which cannot be encoded
 *   decoder-fails.N            the same for the next picture that is to be decoded
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libavcodec/avcodec.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *place(char *path, size_t room, const char *name)
{
    const char *folder = getenv("FAULTS");
    snprintf(path, room, "%s/%s", folder ? folder : "", name);
    return path;
}

static int fails(const char *who)
{
    char name[64], path[4096];
    for (int n = 0; n < 10; n++) {
        snprintf(name, sizeof name, "%s-fails.%d", who, n);
        if (unlink(place(path, sizeof path, name)) == 0)
            return 1;
    }
    return 0;
}

int avcodec_send_frame(AVCodecContext *context, const AVFrame *frame)
{
    int (*send_frame)(AVCodecContext *, const AVFrame *) = dlsym(RTLD_NEXT, "avcodec_send_frame");
    if (context->codec_type == AVMEDIA_TYPE_VIDEO) {
        char who[32], name[64], path[4096];
        snprintf(who, sizeof who, "encoder-%d", context->height);
        if (fails(who))
            return AVERROR_EXTERNAL;
        snprintf(name, sizeof name, "%s-is-slow", who);
        if (access(place(path, sizeof path, name), F_OK) == 0)
            usleep(100000);
    }
    return send_frame(context, frame);
}

int avcodec_receive_frame(AVCodecContext *context, AVFrame *frame)
{
    int (*receive_frame)(AVCodecContext *, AVFrame *) = dlsym(RTLD_NEXT, "avcodec_receive_frame");
    if (context->codec_type == AVMEDIA_TYPE_VIDEO && fails("decoder"))
        return AVERROR_EXTERNAL;
    return receive_frame(context, frame);
}
