# curl, a connection for each step: what the grant of a code is for.
set -euo pipefail
case $MODE in
    plain) url="ftp://$HOST:$PORT" tls=() ;;
    explicit) url="ftp://$HOST:$PORT" tls=(--ssl-reqd) ;;
    implicit) url="ftps://$HOST:$PORT" tls=() ;;
esac
ftp() {
    curl -q --silent --show-error --insecure --noproxy '*' --max-time 40 --user "$NAME:$PASSWORD" "${tls[@]}" "$@"
}
ftp "$url/" -o listing
ftp "$url/put.bin" -T whole.bin
ftp "$url/there.bin" -o got.bin
ftp "$url/up.bin" -T half.bin
ftp "$url/up.bin" -C - -T whole.bin
ftp "$url/there.bin" -C - -o down.bin
ftp "$url/" -o /dev/null -Q "RNFR old name.bin" -Q "RNTO new name.bin"
ftp "$url/" -o /dev/null -Q "DELE unwanted.bin"
