# SPDX-License-Identifier: MIT
# packages: imagemagick
# commands: convert-im6.q16
# does: a plasma of 3 megapixels: resize, rotate, blur, quantize; pixels compared
# version: convert-im6.q16 -version
. "$(dirname "$0")/common.sh"

work() {
	mkdir out
	convert-im6.q16 -seed 7 -size 1200x900 plasma:red-blue big.miff
	convert-im6.q16 big.miff -rotate 30 -resize 60% -blur 0x2 out/turned.ppm
	convert-im6.q16 big.miff -colors 32 -depth 8 out/few.ppm
	convert-im6.q16 big.miff \( +clone -flip \) -append -depth 8 out/both.ppm
}

matrix "$@"
