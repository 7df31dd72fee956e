# NcFTP, one session by commands on its standard input, and its programs for scripts.
set -euo pipefail
export TERM=dumb
account=(-u "$NAME" -p "$PASSWORD" -P "$PORT")
ncftpls -r 1 "${account[@]}" -l "ftp://$HOST/" >listing
ncftpput -r 1 "${account[@]}" -V -C "$HOST" half.bin up.bin
ncftpput -r 1 "${account[@]}" -V -A -C "$HOST" rest.bin up.bin
ncftp "${account[@]}" "$HOST" >said 2>&1 <<END
put -z whole.bin put.bin
get -z there.bin got.bin
get -z there.bin down.bin
rename "old name.bin" "new name.bin"
rm unwanted.bin
quit
END
cat said
