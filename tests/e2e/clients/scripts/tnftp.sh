# tnftp, BSD's client, one session by commands on its standard input.
set -euo pipefail
tnftp -n -v "$HOST" "$PORT" >said 2>&1 <<END
user "$NAME" "$PASSWORD"
binary
prompt
ls . listing
put whole.bin put.bin
get there.bin got.bin
put half.bin up.bin
append rest.bin up.bin
reget there.bin down.bin
rename "old name.bin" "new name.bin"
delete unwanted.bin
bye
END
cat said
