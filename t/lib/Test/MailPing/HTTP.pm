package Test::MailPing::HTTP;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::HTTP - an HTTP client that sends exactly what it is told

=head1 SYNOPSIS

    my $c = Test::MailPing::HTTP->new(port => 8080);

    $c->send_request('GET', '/a');
    $c->send_request('HEAD', '/b');          # pipelined
    my $a = $c->response();
    my $b = $c->response();

    my $r = $c->exchange('GET', '/c', header => [ 'User-Agent' => 'x' ]);

    $r->status();  $r->body();  $r->header('Content-Type');

=head1 DESCRIPTION

new() connects to C<port> of 127.0.0.1 or to the socket at the path C<unix>,
over TLS when C<ssl> is 1 or a hash of IO::Socket::SSL's options, after a
C<proxy_protocol> line when one is given.  C<timeout> is for each read, 10
seconds by default.

A request takes C<header>, pairs that are sent in this order, C<body>,
C<version> ("1.1" by default) and C<exact>: without it a Host comes first
(with 1.1) and a Content-Length last (with a body) where they are not among
the pairs.

header() of a response joins values with ", " and is undef where there is
none; headers() gives the names as they were sent, head() all the bytes before
the body.  read_all() reads until the peer closes.

=cut

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;


sub new {
    my ($class, %options) = @_;

    my $socket = defined $options{unix}
        ? IO::Socket::UNIX->new(Peer => $options{unix})
        : IO::Socket::INET->new(PeerAddr => '127.0.0.1', Proto => 'tcp',
                                PeerPort => $options{port});

    my $self = bless {
        timeout => $options{timeout} // 10,
        buffer => '',
        asked => [],
    }, $class;

    $self->{socket} = $socket
        // die 'cannot connect to ' . ($options{unix} // $options{port})
               . ": $!\n";

    $socket->autoflush(1);

    if (defined $options{proxy_protocol}) {
        $self->write($options{proxy_protocol});
    }

    if ($options{ssl}) {
        my %ssl = ref $options{ssl} ? %{$options{ssl}} : ();

        require IO::Socket::SSL;

        IO::Socket::SSL->start_SSL($socket, SSL_verify_mode => 0, %ssl)
            || die 'no TLS: ' . IO::Socket::SSL::errstr() . "\n";
    }

    return $self;
}


sub socket {
    return $_[0]{socket};
}


sub close {
    my ($self) = @_;

    if ($self->{socket}) {
        $self->{socket}->close();
        undef $self->{socket};
    }
}


sub write {
    my ($self, $bytes) = @_;

    local $SIG{PIPE} = 'IGNORE';

    my $offset = 0;

    while ($offset < length($bytes)) {
        my $n = $self->{socket}->syswrite($bytes, length($bytes) - $offset,
                                          $offset);

        if (!defined $n) {
            return 0;
        }

        $offset += $n;
    }

    return 1;
}


# Reads some more; false at the end and when the time is over.

sub _fill {
    my ($self) = @_;

    my $socket = $self->{socket} // return 0;

    my $pending = $socket->can('pending') && $socket->pending();

    if (!$pending
        && !IO::Select->new($socket)->can_read($self->{timeout}))
    {
        $self->{timed_out} = 1;
        return 0;
    }

    return $socket->sysread($self->{buffer}, 65536,
                            length($self->{buffer}));
}


sub read_all {
    my ($self) = @_;

    while ($self->_fill()) {
        # void
    }

    my $bytes = $self->{buffer};
    $self->{buffer} = '';

    return $bytes;
}


sub timed_out {
    return $_[0]{timed_out};
}


sub send_request {
    my ($self, $method, $uri, %options) = @_;

    my $version = $options{version} // '1.1';
    my @header = @{$options{header} // []};
    my $body = $options{body} // '';

    my %given;

    for (my $i = 0; $i < @header; $i += 2) {
        $given{lc($header[$i])} = 1;
    }

    if (!$options{exact}) {
        if ($version eq '1.1' && !$given{host}) {
            unshift(@header, 'Host', $options{host} // 'localhost');
        }

        if ($body ne '' && !$given{'content-length'}
            && !$given{'transfer-encoding'})
        {
            push(@header, 'Content-Length', length($body));
        }
    }

    my $bytes = "$method $uri HTTP/$version\r\n";

    while (@header) {
        my ($name, $value) = splice(@header, 0, 2);
        $bytes .= "$name: $value\r\n";
    }

    push(@{$self->{asked}}, $method);

    return $self->write("$bytes\r\n$body");
}


sub exchange {
    my ($self, @request) = @_;

    $self->send_request(@request);

    return $self->response();
}


# The next response, undef when the peer closed before it.

sub response {
    my ($self) = @_;

    my $method = shift(@{$self->{asked}}) // 'GET';

    while ($self->{buffer} !~ /\r\n\r\n/) {
        $self->_fill() || return undef;
    }

    my $end = index($self->{buffer}, "\r\n\r\n") + 4;
    my $head = substr($self->{buffer}, 0, $end, '');

    my ($line, @lines) = split(/\r\n/, $head);

    my $r = bless { head => $head, body => '', pairs => [] },
                  'Test::MailPing::HTTP::Response';

    if ($line !~ m|^HTTP/(\d\.\d) (\d{3})|) {
        die "not a status line: \"$line\"\n";
    }

    ($r->{version}, $r->{status}) = ($1, $2);

    for (@lines) {
        /^([^:\s]+):[ \t]*(.*?)[ \t]*$/ || die "not a header: \"$_\"\n";
        push(@{$r->{pairs}}, [ $1, $2 ]);
    }

    if ($method eq 'HEAD' || $r->{status} =~ /^(?:1..|204|304)$/) {
        return $r;
    }

    my $length = $r->header('Content-Length');

    if (lc($r->header('Transfer-Encoding') // '') eq 'chunked') {
        $r->{body} = $self->_chunked();

    } elsif (defined $length) {
        while (length($self->{buffer}) < $length) {
            $self->_fill() || last;
        }

        $r->{body} = substr($self->{buffer}, 0, $length, '');

    } else {
        $r->{body} = $self->read_all();
    }

    return $r;
}


sub _chunked {
    my ($self) = @_;

    my $body = '';

    for ( ;; ) {
        while ($self->{buffer} !~ /\r\n/) {
            $self->_fill() || return $body;
        }

        $self->{buffer} =~ s/^([0-9a-fA-F]+)[^\r\n]*\r\n//
            || die "not a chunk\n";

        my $n = hex($1);

        while (length($self->{buffer}) < $n + 2) {
            $self->_fill() || return $body . $self->{buffer};
        }

        $body .= substr($self->{buffer}, 0, $n, '');
        substr($self->{buffer}, 0, 2, '');

        return $body if $n == 0;
    }
}


package Test::MailPing::HTTP::Response;

use strict;
use warnings;


sub status {
    return $_[0]{status};
}


sub version {
    return $_[0]{version};
}


sub head {
    return $_[0]{head};
}


sub body {
    return $_[0]{body};
}


sub header {
    my ($self, $name) = @_;

    my @values = map { $_->[1] }
                 grep { lc($_->[0]) eq lc($name) } @{$self->{pairs}};

    return @values ? join(', ', @values) : undef;
}


sub headers {
    my ($self) = @_;

    return map { $_->[0] } @{$self->{pairs}};
}


1;
