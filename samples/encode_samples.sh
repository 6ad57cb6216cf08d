#!/bin/sh
# Makes the .ncx files next to the samples with the default model. Run it when that model changes.
set -eu
cd "$(dirname "$0")"
rm -f ./*.ncx
for sample in *.flac; do
    name=${sample%.flac}
    ncodec encode "$sample" -b 1.5 -o "$name.1_5kbps.ncx"
    ncodec encode "$sample" -b 6 -o "$name.6kbps.ncx"
done
