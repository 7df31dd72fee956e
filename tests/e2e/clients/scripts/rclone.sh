# rclone's ftp back-end.
set -euo pipefail
export RCLONE_FTP_HOST=$HOST RCLONE_FTP_PORT=$PORT RCLONE_FTP_USER=$NAME RCLONE_FTP_NO_CHECK_CERTIFICATE=true
RCLONE_FTP_PASS=$(printf %s "$PASSWORD" | rclone obscure -)
export RCLONE_FTP_PASS
case $MODE in
    plain) ;;
    explicit) export RCLONE_FTP_EXPLICIT_TLS=true ;;
    implicit) export RCLONE_FTP_TLS=true ;;
esac
ftp() {
    rclone --config "" --retries 1 --low-level-retries 1 "$@"
}
ftp lsl :ftp: >listing
ftp copyto whole.bin :ftp:put.bin
ftp copyto :ftp:there.bin got.bin
ftp cat --offset "$(stat -c %s down.bin)" :ftp:there.bin >>down.bin
ftp moveto ":ftp:old name.bin" ":ftp:new name.bin"
ftp deletefile :ftp:unwanted.bin
