package Test::MailPing::Redis;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Redis - a private Redis server, and a client of it

=head1 SYNOPSIS

    my $redis = $t->redis();         # of a Test::MailPing, runs

    $redis->command('SET', 'a', 1);  # dies with the text of an error reply
    my @opens = $redis->entries();   # hashes, in the stream's order

    $redis->kill9();
    $redis->start();                 # with what its append-only file holds

=head1 DESCRIPTION

Listens at a unix socket, <name>.sock in the test's directory, and at the
port that C<< $t->port('<name>') >> gives.  Options of C<< $t->redis(name,
...) >>: C<password> of the default user, C<arguments>, more of redis-server's
command line.

An entry is a hash of its fields, and its own id under ".id"; pairs() gives
them as they are, [ id, [ field, value, ... ] ].

=cut

use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;

use Test::MailPing::Process qw(wait_for);


sub new {
    my ($class, $t, $name, %options) = @_;

    my $self = bless {
        arguments => [],
        %options,
        t => $t,
        name => $name,
        dir => $t->prefix() . "/$name",
        unix => $t->prefix() . "/$name.sock",
        port => $t->port($name),
    }, $class;

    mkdir($self->{dir}) || die "cannot make $self->{dir}: $!\n";

    return $self;
}


sub unix {
    return $_[0]{unix};
}


sub port {
    return $_[0]{port};
}


sub pid {
    return $_[0]{pid};
}


sub start {
    my ($self) = @_;

    my @command = ('redis-server', '--bind', '127.0.0.1',
                   '--port', $self->{port},
                   '--unixsocket', $self->{unix}, '--unixsocketperm', '777',
                   '--dir', $self->{dir}, '--daemonize', 'no',
                   '--appendonly', 'yes', '--save', '',
                   '--logfile', "$self->{dir}/redis.log");

    if (defined $self->{password}) {
        push(@command, '--requirepass', $self->{password});
    }

    # a socket that a killed server left answers nobody

    unlink($self->{unix});

    my $path = (grep { -x "$_/redis-server" }
                split(/:/, $ENV{PATH} // ''))[0]
               // die "no redis-server in PATH\n";

    $command[0] = "$path/redis-server";

    $self->{pid} = $self->{t}->spawn("$self->{dir}/redis.log", @command,
                                      @{$self->{arguments}});

    # it refuses commands while it loads its file

    wait_for(sub {
        if (!$self->{t}->alive($self->{pid})) {
            die "redis-server ended, see $self->{dir}/redis.log:\n"
                . $self->{t}->read_file("$self->{dir}/redis.log");
        }

        eval { $self->command('PING') eq 'PONG' };
    }, 30) || die "redis-server does not answer: $@\n";

    return $self;
}


# Ends the server in order, as an operator would, or at once.

sub stop {
    my ($self) = @_;

    return $self->_end('TERM');
}


sub kill9 {
    my ($self) = @_;

    return $self->_end('KILL');
}


sub restart {
    my ($self) = @_;

    $self->stop();

    return $self->start();
}


sub pause {
    my ($self) = @_;

    return kill('STOP', $self->{pid});
}


sub resume {
    my ($self) = @_;

    return kill('CONT', $self->{pid});
}


sub _end {
    my ($self, $signal) = @_;

    my $pid = $self->{pid} // return 1;

    $self->disconnect();

    kill($signal, $pid);
    kill('CONT', $pid);

    if (!wait_for(sub { !$self->{t}->alive($pid) }, 15)) {
        kill('KILL', $pid);
        waitpid($pid, 0);
    }

    undef $self->{pid};

    return 1;
}


=head1 METHODS

=over

=item command(NAME, ARGUMENTS...)

One command, its reply as a number, text, undef for nil, or a reference to an
array.  A lost connection is made again at the next command, not repeated.

=cut

sub command {
    my ($self, @arguments) = @_;

    my $reply = eval {
        $self->_connect();
        $self->_send(@arguments);
        $self->_reply();
    };

    if ($@) {
        my $error = $@;
        $self->disconnect();
        die $error;
    }

    if (ref $reply eq 'Test::MailPing::Redis::Error') {
        die "$$reply\n";
    }

    return $reply;
}


=item entries(STREAM), pairs(STREAM), length(STREAM)

All of a stream, "mailping:opens" by default.

=cut

sub pairs {
    my ($self, $stream) = @_;

    return @{$self->command('XRANGE', $stream // 'mailping:opens', '-', '+')};
}


sub entries {
    my ($self, $stream) = @_;

    return map { { '.id' => $_->[0], @{$_->[1]} } } $self->pairs($stream);
}


sub length {
    my ($self, $stream) = @_;

    return $self->command('XLEN', $stream // 'mailping:opens');
}


=item disconnect()

Drops the client's connection; the next command makes a new one.

=back

=cut

sub disconnect {
    my ($self) = @_;

    undef $self->{socket};
}


sub _connect {
    my ($self) = @_;

    if ($self->{socket}) {
        return;
    }

    $self->{socket} = IO::Socket::UNIX->new(Peer => $self->{unix})
        // die "cannot connect to $self->{unix}: $!\n";
    $self->{buffer} = '';

    if (defined $self->{password}) {
        $self->_send('AUTH', $self->{password});

        my $reply = $self->_reply();
        die "$$reply\n" if ref $reply;
    }
}


sub _send {
    my ($self, @arguments) = @_;

    local $SIG{PIPE} = 'IGNORE';

    my $bytes = '*' . @arguments . "\r\n";

    for my $argument (@arguments) {
        $bytes .= '$' . CORE::length($argument) . "\r\n$argument\r\n";
    }

    my $offset = 0;

    while ($offset < CORE::length($bytes)) {
        $offset += $self->{socket}->syswrite($bytes,
                       CORE::length($bytes) - $offset, $offset)
                   // die "redis is gone: $!\n";
    }
}


sub _fill {
    my ($self) = @_;

    if (!IO::Select->new($self->{socket})->can_read(30)) {
        die "redis does not answer\n";
    }

    $self->{socket}->sysread($self->{buffer}, 1 << 20,
                             CORE::length($self->{buffer}))
        || die "redis closed the connection\n";
}


# The buffer is consumed by position, because a long stream has many lines.

sub _reply {
    my ($self) = @_;

    $self->{at} = 0;

    my $reply = $self->_element();

    substr($self->{buffer}, 0, $self->{at}, '');

    return $reply;
}


sub _element {
    my ($self) = @_;

    my $end;

    while (($end = index($self->{buffer}, "\r\n", $self->{at})) < 0) {
        $self->_fill();
    }

    my $line = substr($self->{buffer}, $self->{at}, $end - $self->{at});
    $self->{at} = $end + 2;

    my $type = substr($line, 0, 1, '');

    if ($type eq '+' || $type eq ':') {
        return $line;
    }

    if ($type eq '-') {
        return bless \$line, 'Test::MailPing::Redis::Error';
    }

    if ($line == -1) {
        return undef;
    }

    if ($type eq '*') {
        return [ map { $self->_element() } (1 .. $line) ];
    }

    while (CORE::length($self->{buffer}) < $self->{at} + $line + 2) {
        $self->_fill();
    }

    my $text = substr($self->{buffer}, $self->{at}, $line);
    $self->{at} += $line + 2;

    return $text;
}


1;
