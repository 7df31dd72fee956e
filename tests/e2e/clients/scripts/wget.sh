# GNU Wget, which only reads.
set -euo pipefail
case $MODE in
    plain) url="ftp://$HOST:$PORT" tls=() ;;
    explicit) url="ftps://$HOST:$PORT" tls=() ;;
    implicit) url="ftps://$HOST:$PORT" tls=(--ftps-implicit) ;;
esac
ftp() {
    wget --no-config --no-verbose --no-proxy --tries=1 --timeout=20 --no-check-certificate \
        --user="$NAME" --password="$PASSWORD" "${tls[@]}" "$@"
}
ftp "$url/" -O listing
ftp "$url/there.bin" -O got.bin
ftp "$url/there.bin" --continue -O down.bin
