# SPDX-License-Identifier: MIT
# packages: ffmpeg
# commands: ffmpeg
# does: encodes and decodes video and sound with two threads (mpeg4, ffv1, flac), compares every frame
# version: ffmpeg -version
. "$(dirname "$0")/common.sh"

work() {
	mkdir out
	f="ffmpeg -hide_banner -loglevel error -nostdin -threads 2 -bitexact"
	$f -f lavfi -i testsrc2=size=640x360:rate=10:duration=2 -f lavfi -i sine=frequency=440:duration=2 \
		-c:v ffv1 -slices 4 -c:a flac -fflags +bitexact -y lossless.mkv
	$f -i lossless.mkv -map 0 -f framemd5 out/lossless.md5
	$f -i lossless.mkv -an -c:v mpeg4 -q:v 5 -flags +bitexact -fflags +bitexact -y out/lossy.avi
	$f -i out/lossy.avi -vf scale=320:180,hqdn3d -f framemd5 out/lossy.md5
}

matrix "$@"
