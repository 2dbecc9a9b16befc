#!/usr/bin/perl
# Hands its arguments to a running application, prints its answer, and exits with its status: a launch
# with a name, written in another language. docs/wire.md describes the protocol. This needs CryptX.
#
#     perl client.pl NAME [ARG ...]
use strict;
use warnings;
use Cwd qw(getcwd);
use Crypt::Digest::BLAKE2b_256 qw(blake2b_256);
use Crypt::Mac::BLAKE2b qw(blake2b);
use Crypt::PRNG qw(random_bytes);
use IO::Handle;
use IO::Socket::INET;

my ($name, @words) = @ARGV;
sub fail { print STDERR shift, "\n"; exit 1 }
fail "usage: client.pl NAME [ARG ...]" unless defined $name;

sub place {    # the address and port of the application, for this user
    my $number = unpack "Q>", blake2b_256(join "\0", "Socket_Singleton", $>, $name);
    my ($port, @parts) = (10_000 + $number % 22_768, 127);
    $number = ($number - $number % 22_768) / 22_768;
    for (1 .. 3) {
        push @parts, 1 + $number % 254;
        $number = ($number - $number % 254) / 254;
    }
    return ($^O eq "linux" ? join(".", @parts) : "127.0.0.1", $port);
}

sub key {    # the key of this user, or that of a secret
    return blake2b_256($ENV{SECRET}) if $ENV{SECRET};
    open my $file, "<:raw", "$ENV{HOME}/.local/state/Socket_Singleton/key" or fail "no key yet: $!";
    local $/;
    return <$file>;
}

sub network {    # the machine and the network that a loopback address belongs to
    return "" unless $^O eq "linux";
    my ($boot, $here) = ("", readlink "/proc/thread-self/ns/net");
    if (open my $file, "<", "/proc/sys/kernel/random/boot_id") { chomp($boot = <$file>) }
    $here = readlink "/proc/self/ns/net" unless defined $here;
    return " $boot " . (defined $here ? $here : "");
}

my ($address, $port) = place();
my $host = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Timeout => 2)
    or fail "$name is not running: $@";

sub receive {    # read exactly this many bytes
    my ($size, $data) = (shift, "");
    while (length $data < $size) {
        $host->sysread($data, $size - length $data, length $data) or fail "$name at port $port is gone";
    }
    return $data;
}

sub prove {    # the proof over a label, and what both sides know
    my ($label, @known) = (@_, $name, "$address $port" . network());
    return blake2b(32, key(), "$label\0" . join "", map { pack "N/a*", $_ } @known);
}

my $transcript = "HELLO Socket_Singleton/1\r\n\r\n" . random_bytes(32);
$host->syswrite($transcript);
$transcript .= receive(1 + 32 + 4);
receive(32) eq prove("host", $transcript) or fail "another program is at port $port, or another key or network";
my $packet = join "", map { "$_\0" } getcwd() // "", "", @words;    # "": it hands over no variables
my $claim = pack("CN", 1, length $packet) . blake2b_256($packet);    # 1: it waits for the answer
print {$host} $claim, prove("launch", $transcript . $claim), $packet;
$host->flush;
my $reply = receive(1);
fail "$name rejects this launch: " . receive(1) unless $reply eq "\x06";
STDOUT->autoflush(1);
while (1) {
    my ($kind, $size) = unpack "CN", receive(5);
    my $body = receive($size);
    if    ($kind == 4) { print $body }           # what the application writes, at once
    elsif ($kind == 5) { print STDERR $body }
    elsif ($kind == 3) { fail $body }
    elsif ($kind == 6) { fail "$name has cut off its output, because it was not read" }
    elsif ($kind > 2)  { fail "an answer of an unknown kind ($kind)" }
    else {                                       # the answer: a text, a status or nothing
        print $body, $body =~ /\n\z/ ? "" : "\n" if $kind == 2 && length $body;
        exit($kind == 1 ? ord $body : 0);
    }
}
