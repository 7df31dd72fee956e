# curlftpfs: the account as a folder, used by ordinary programs.
set -euo pipefail
case $MODE in
    plain) url="ftp://$HOST:$PORT" tls="" ;;
    explicit) url="ftp://$HOST:$PORT" tls=",ssl,no_verify_peer,no_verify_hostname" ;;
    implicit) url="ftps://$HOST:$PORT" tls=",no_verify_peer,no_verify_hostname" ;;
esac
mkdir mounted
curlftpfs "$url" mounted -o "user=$NAME:$PASSWORD$tls"
trap 'fusermount -u -z mounted' EXIT
ls mounted >listing
cp whole.bin mounted/put.bin
cp mounted/there.bin got.bin
# Reads from the middle: the offset of a restart.
tail -c "+$(($(stat -c %s down.bin) + 1))" mounted/there.bin >>down.bin
mv "mounted/old name.bin" "mounted/new name.bin"
rm mounted/unwanted.bin
