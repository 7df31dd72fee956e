# Perl's Net::FTP, one session. It has no restart for uploads: the rest is appended.
use strict;
use warnings;
use Net::FTP;

my ($mode, @tls) = $ENV{MODE};
@tls = (SSL_verify_mode => 0) if $mode ne 'plain';
push @tls, SSL => 1 if $mode eq 'implicit';
my $ftp = Net::FTP->new($ENV{HOST}, Port => $ENV{PORT}, Timeout => 30, Passive => 1, @tls) or die "connect: $@";

sub must {
    my ($step, $done) = @_;
    $done or die "$step: " . $ftp->code . ' ' . $ftp->message;
    return $done;
}

must(starttls => $ftp->starttls) if $mode eq 'explicit';
must(login    => $ftp->login($ENV{NAME}, $ENV{PASSWORD}));
must(prot     => $ftp->prot('P')) if $mode ne 'plain';
must(binary   => $ftp->binary);
open my $listing, '>', 'listing' or die $!;
print $listing "$_\n" for must(list => scalar $ftp->dir)->@*;
must(put       => $ftp->put('whole.bin', 'put.bin'));
must(get       => $ftp->get('there.bin', 'got.bin'));
must(put       => $ftp->put('half.bin',  'up.bin'));
must(append    => $ftp->append('rest.bin', 'up.bin'));
must(get_again => $ftp->get('there.bin', 'down.bin', -s 'down.bin'));
must(rename    => $ftp->rename('old name.bin', 'new name.bin'));
must(delete    => $ftp->delete('unwanted.bin'));
must(quit      => $ftp->quit);
