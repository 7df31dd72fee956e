# lftp, one session for the whole sequence.
set -euo pipefail
case $MODE in
    plain) url="ftp://$HOST:$PORT" tls="set ftp:ssl-allow false" ;;
    explicit) url="ftp://$HOST:$PORT" tls="set ftp:ssl-force true; set ftp:ssl-protect-data true" ;;
    implicit) url="ftps://$HOST:$PORT" tls="set ftp:ssl-protect-data true" ;;
esac
export LFTP_PASSWORD=$PASSWORD
lftp --norc <<END
set cmd:fail-exit true
set ssl:verify-certificate no
set net:max-retries 1
set net:timeout 20
$tls
open --env-password --user "$NAME" "$url"
ls > listing
put whole.bin -o put.bin
get there.bin -o got.bin
put half.bin -o up.bin
put -c whole.bin -o up.bin
get -c there.bin -o down.bin
mv "old name.bin" "new name.bin"
rm unwanted.bin
END
