package Test::MailPing;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing - a real nginx, a real Redis and what tests ask of them

=head1 SYNOPSIS

    use Test::More;
    use Test::MailPing;

    my $t = Test::MailPing->new();
    my $redis = $t->redis();

    $t->write_conf(<<'END');
    %%GLOBALS%%
    events { }
    http {
        %%GLOBALS_HTTP%%
        mailping_spool %%SPOOL%% size=16m sync=off;
        mailping_redis { server %%REDIS%%; }
        mailping_key 1 %%KEYFILE%%;
        server {
            listen 127.0.0.1:%%PORT%%;
            location /o/ { mailping; }
        }
    }
    END

    $t->start();

    my $r = $t->get('/o/' . $t->mint(id => 'one') . '.gif');
    is($r->status(), 200, 'the pixel');

    ok(wait_for(sub { $redis->entries() == 1 }), 'one open');
    is(($redis->entries())[0]{id}, 'one', 'its id');

    $t->done();

=head1 DESCRIPTION

Each object has a directory of its own and ports that no other running test
has.  done() stops everything and adds the checks that every test ends with:
no alert, no sanitizer report, no process killed by a signal, no descriptor
gained by the master, no process left.  What a test provokes on purpose, it
declares with allow().

Processes are found by their working directory, which is below the test's
own, and only those are ever signaled.

=head1 ENVIRONMENT

    TEST_NGINX_BINARY    nginx to run, default: from PATH, /usr/sbin
    TEST_NGINX_MODULE    the module, default build/ngx_mailping_module.so;
                         empty when it is compiled into the binary
    TEST_NGINX_GLOBALS   lines to put at the top of each configuration
    TEST_NGINX_VERBOSE   show commands, and error.log at the end
    TEST_NGINX_LEAVE     keep the directory
    MAILPING_SHARED      the folder of shared material, default ../shared

=cut

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use Fcntl qw(:flock O_CREAT O_RDWR);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Temp;
use IO::Socket::INET;
use JSON::PP ();
use Test::More ();

use Test::MailPing::HTTP;
use Test::MailPing::Process qw(wait_for run_command
                               process_stat process_title);
use Test::MailPing::Redis;
use Test::MailPing::Token;

our @ISA = qw(Test::MailPing::Process);
our @EXPORT = qw(wait_for);
our @EXPORT_OK = qw(wait_for repository shared run_command);

# below the ports that the kernel gives to outgoing connections
use constant PORT_FIRST => 20_000;
use constant PORT_LAST => 32_000;

my $repository = abs_path(dirname(abs_path(__FILE__)) . '/../../..');

my @objects;


=head1 FUNCTIONS

=over

=item wait_for(CODE, SECONDS), run_command(COMMAND, ARGUMENTS...)

See L<Test::MailPing::Process>.

=item repository(), shared()

The repository's directory; the folder of shared material or undef.

=back

=cut

sub repository {
    return $repository;
}


sub shared {
    my $dir = $ENV{MAILPING_SHARED} // "$repository/../shared";

    return -d $dir ? abs_path($dir) : undef;
}


=head1 METHODS

=over

=item new(log => 'info', user => 'nobody', timeout => 300, wrap => [], module)

log is the level of error.log; user is whom workers run as when the test runs
as root; after timeout seconds the test ends as failed; wrap is a command that
runs nginx, for instance valgrind with its options; module is what is loaded
instead of TEST_NGINX_MODULE, '' for nothing.

=cut

sub new {
    my ($class, %options) = @_;

    my $self = bless {
        log => 'info',
        user => 'nobody',
        timeout => 300,
        wrap => [],
        %options,
        owner => $$,
        ports => {},
        locks => [],
        allowed => [],
        redis => {},
        problems => [],
    }, $class;

    $self->{prefix} = abs_path(File::Temp::tempdir('mailping-XXXXXXXX',
                                                   TMPDIR => 1));

    # workers of another user come in, nobody lists it
    chmod(0711, $self->{prefix});

    $self->{binary} = _binary();
    $self->{module} //= $ENV{TEST_NGINX_MODULE}
                        // "$repository/build/ngx_mailping_module.so";

    $self->write_file('1.key', $self->key() . "\n");

    push(@objects, $self);

    # no die: an eval of the test must not catch it

    $SIG{ALRM} = sub {
        Test::More::diag("the test did not end in $self->{timeout} s");
        exit(1);
    };
    $SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { exit(1) };

    alarm($self->{timeout});

    return $self;
}


sub _binary {
    if (defined $ENV{TEST_NGINX_BINARY}) {
        return $ENV{TEST_NGINX_BINARY};
    }

    for my $dir (split(/:/, $ENV{PATH} // ''), '/usr/sbin',
                 '/usr/local/sbin')
    {
        if (-x "$dir/nginx") {
            return "$dir/nginx";
        }
    }

    die "no nginx found, see TEST_NGINX_BINARY\n";
}


=item prefix(), spool(), binary(), module(), path(NAME)

Where things are, path() what is called NAME in the test's directory.  The
spool's directory is not made: that is nginx's task.

=cut

sub prefix {
    return $_[0]{prefix};
}


sub spool {
    return "$_[0]{prefix}/spool";
}


sub binary {
    return $_[0]{binary};
}


sub module {
    return $_[0]{module};
}


sub path {
    my ($self, $name) = @_;

    return $name =~ m|^/| ? $name : "$self->{prefix}/$name";
}


=item key()

The hex digits in %%KEYFILE%%, with key id 1 the key of mint().

=cut

sub key {
    return '000102030405060708090a0b0c0d0e0f'
           . '101112131415161718191a1b1c1d1e1f';
}


=item port(NAME)

A port of 127.0.0.1 that is free and stays this test's; the same one each time
it is asked for by this name.  In configurations: %%PORT%% and %%PORT_NAME%%.

=cut

sub port {
    my ($self, $name) = @_;

    $name //= '';

    return $self->{ports}{$name} //= $self->_free_port();
}


sub _free_port {
    my ($self) = @_;

    # not TMPDIR: all tests have to meet there

    my $dir = "/tmp/mailping-ports-$>";
    mkdir($dir, 0700);

    my $n = PORT_LAST - PORT_FIRST;
    my $start = ($$ * 7919 + @{$self->{locks}}) % $n;

    for my $i (0 .. $n - 1) {
        my $port = PORT_FIRST + ($start + $i) % $n;

        sysopen(my $lock, "$dir/$port", O_CREAT | O_RDWR, 0600)
            || die "cannot open $dir/$port: $!\n";

        if (!flock($lock, LOCK_EX | LOCK_NB)) {
            next;
        }

        # nobody listens there, whoever that might be

        my $socket = IO::Socket::INET->new(Proto => 'tcp', Listen => 1,
                                           LocalAddr => '127.0.0.1',
                                           LocalPort => $port,
                                           ReuseAddr => 1);

        if ($socket) {
            close($socket);
            push(@{$self->{locks}}, $lock);
            return $port;
        }
    }

    die "no free port\n";
}


=item write_file(NAME, CONTENT), read_file(NAME)

In the test's directory, unless NAME is an absolute path.  The first returns
the path.

=cut

sub write_file {
    my ($self, $name, $content) = @_;

    my $path = $self->path($name);

    open(my $file, '>:raw', $path) || die "cannot create $path: $!\n";
    print $file $content;
    close($file) || die "cannot write $path: $!\n";

    return $path;
}


sub read_file {
    my ($self, $name) = @_;

    my $path = $self->path($name);

    open(my $file, '<:raw', $path) || die "cannot open $path: $!\n";
    local $/;

    return <$file> // '';
}


=item expand(TEXT), write_conf(TEXT)

Replace names in a configuration: PREFIX, PORT, PORT_name, MODULE, SPOOL,
REDIS (the "server" of the test's Redis), REDIS_PORT, KEYFILE, GLOBALS (what
belongs at the top), GLOBALS_HTTP (what belongs at the top of http), each
between %% signs.  write_conf() writes nginx.conf.

=cut

sub expand {
    my ($self, $text, $purpose) = @_;

    # "nginx -t" beside a running nginx has a log and a pid file of its own

    my $log = $purpose // 'error';
    my $pid = $purpose // 'nginx';

    my $prefix = $self->{prefix};

    my $globals = $ENV{TEST_NGINX_GLOBALS} // '';

    if ($self->{module} ne '') {
        $globals .= "\nload_module $self->{module};";
    }

    if ($> == 0) {
        my $group = (getgrgid((getpwnam($self->{user}))[3]))[0];
        $globals .= "\nuser $self->{user} $group;";
    }

    $globals .= "\npid $prefix/$pid.pid;"
                . "\nerror_log $prefix/$log.log $self->{log};";

    my $http = "access_log off;\n" . join("\n",
        map { "${_}_temp_path $prefix/${_}_temp;" }
            qw(client_body proxy fastcgi uwsgi scgi));

    my %names = (
        GLOBALS => $globals,
        GLOBALS_HTTP => $http,
        PREFIX => $prefix,
        MODULE => $self->{module},
        SPOOL => $self->spool(),
        REDIS => "unix:$prefix/redis.sock",
        KEYFILE => "$prefix/1.key",
    );

    $text =~ s{%%(\w+)%%}{
        my $name = $1;

        $name =~ /^PORT(?:_(\w+))?$/ ? $self->port($1)
        : $name eq 'REDIS_PORT' ? $self->port('redis')
        : $names{$name} // die "unknown name %%$name%%\n";
    }ge;

    return $text;
}


sub write_conf {
    my ($self, $text) = @_;

    return $self->write_file('nginx.conf', $self->expand($text));
}


=item check_conf(TEXT)

Runs "nginx -t" with this configuration, apart from a running one; returns
exit code and output.

=cut

sub check_conf {
    my ($self, $text) = @_;

    $self->write_file('check.conf', $self->expand($text, 'check'));

    return run_command($self->binary(), '-t', '-p', $self->{prefix},
                       '-c', "$self->{prefix}/check.conf",
                       '-e', "$self->{prefix}/check.log");
}


=item start(), try_start()

Start nginx with nginx.conf.  start() dies when it does not start,
try_start() returns whether it did.  startup() is what it then said.

=cut

sub start {
    my ($self) = @_;

    $self->try_start() || die "nginx does not start: $self->{startup}\n";

    return $self;
}


sub try_start {
    my ($self) = @_;

    my $prefix = $self->{prefix};
    my $output = "$prefix/stderr.log";

    unlink("$prefix/nginx.pid");

    my @command = (@{$self->{wrap}}, $self->binary(), '-p', $prefix,
                   '-c', "$prefix/nginx.conf", '-e', "$prefix/error.log");

    my $from = -s $output // 0;
    my $pid = $self->spawn($output, @command);

    # it becomes a daemon when it is listening

    waitpid($pid, 0);

    my $failed = $?;

    $self->{startup} = substr(-e $output ? $self->read_file($output) : '',
                              $from);

    if ($failed) {
        return 0;
    }

    if (!wait_for(sub { $self->pid() }, 30)) {
        $self->{startup} .= 'no pid file';
        return 0;
    }

    if ($self->read_file('nginx.conf') !~ /\bmaster_process\s+off\b/) {
        wait_for(sub { $self->workers() && $self->_settled() });
        $self->count_fds();
    }

    return 1;
}


# The master blocks signals while it starts workers, and waits for them, with
# none blocked, when it has them all.  Under a wrapper the mask is not its own.

sub _settled {
    my ($self) = @_;

    if (@{$self->{wrap}}) {
        return 1;
    }

    open(my $file, '<', '/proc/' . $self->pid() . '/status') || return 0;

    return scalar(grep { /^SigBlk:\s*0+$/ } <$file>);
}


sub startup {
    return $_[0]{startup};
}


=item pid(), workers()

The master's pid; those of its workers, cache processes not counted.  Others
are methods of L<Test::MailPing::Process>: processes(), run_daemon(), cpu().

=cut

sub pid {
    my ($self) = @_;

    open(my $file, '<', "$self->{prefix}/nginx.pid") || return undef;

    my $pid = <$file> // '';

    return $pid =~ /^(\d+)$/ ? $1 : undef;
}


sub workers {
    my ($self) = @_;

    return grep { process_title($_) !~ /cache (?:manager|loader)/ }
                $self->_children();
}


sub _children {
    my ($self) = @_;

    my $master = $self->pid() // return;

    return grep {
        my $stat = process_stat($_);

        $stat && $stat->{parent} == $master && $stat->{state} ne 'Z';
    } $self->processes();
}


=item reload(SECONDS)

Sends HUP and waits until a new generation of workers alone is there, at most
SECONDS, 20 by default.  Returns whether that happened; a configuration that is
refused leaves the old workers.

=cut

sub reload {
    my ($self, $seconds) = @_;

    my %old = map { $_ => 1 } $self->workers();
    my $size = $self->log_size();

    kill('HUP', $self->pid());

    return wait_for(sub {
        my @now = $self->workers();

        if ($self->log_lines(qr/\[emerg\]/, $size)) {
            return 'refused';
        }

        return @now && !grep { $old{$_} } @now;
    }, $seconds // 20) eq '1';
}


=item stop(SIGNAL, SECONDS)

Ends nginx, by QUIT when nothing else is named, and waits for its end.  Returns
whether it ended in time.

=cut

sub stop {
    my ($self, $signal, $seconds) = @_;

    my $pid = $self->pid() // return 1;

    $self->_check_fds();

    kill($signal // 'QUIT', $pid);

    my $ended = wait_for(sub { !$self->alive($pid) }, $seconds // 20);

    if ($ended) {
        unlink("$self->{prefix}/nginx.pid");
    }

    return $ended;
}


=item kill9(PIDS...)

Kills these processes by SIGKILL, without any the master and all its children,
and waits for their end.  The lines about it in error.log are allowed.

=cut

sub kill9 {
    my ($self, @pids) = @_;

    if (!@pids) {
        my $master = $self->pid();

        @pids = ($master, $self->_children());
        unlink("$self->{prefix}/nginx.pid");
    }

    my %ours = map { $_ => 1 } $self->processes();

    for my $pid (@pids) {
        die "process $pid is not of this test\n" if !$ours{$pid};
        $self->allow(qr/process $pid exited on signal 9/);
    }

    # the master first, or it starts workers again

    kill('KILL', $_) for (@pids);

    return wait_for(sub { !grep { $self->alive($_) } @pids });
}


=item log_lines(REGEX, FROM), log_size()

The lines of error.log that match, in scalar context their number; those after
its first FROM bytes only, which is what log_size() told earlier.

=cut

sub log_lines {
    my ($self, $regex, $from) = @_;

    my @lines;

    if (open(my $file, '<', "$self->{prefix}/error.log")) {
        seek($file, $from // 0, 0);
        @lines = grep { !defined $regex || $_ =~ $regex } <$file>;
        chomp(@lines);
    }

    return @lines;
}


sub log_size {
    my ($self) = @_;

    return -s "$self->{prefix}/error.log" // 0;
}


=item allow(REGEX)

Declares a line of error.log that the last checks shall not mind.

=cut

sub allow {
    my ($self, $regex) = @_;

    push(@{$self->{allowed}}, $regex);

    return $self;
}


=item count_fds(), allow_fds()

count_fds() takes the number of descriptors that the master has now, instead of
that at the start, as the one it must end with; allow_fds() drops the check.

=cut

sub count_fds {
    my ($self) = @_;

    # a wrapper has descriptors of its own

    $self->{fds} = $self->{fds_allowed} || @{$self->{wrap}}
        ? undef : $self->_fds();

    return $self->{fds};
}


sub allow_fds {
    my ($self) = @_;

    $self->{fds_allowed} = 1;
    undef $self->{fds};

    return $self;
}


sub _fds {
    my ($self) = @_;

    opendir(my $dir, '/proc/' . ($self->pid() // 0) . '/fd') || return undef;

    return scalar(grep { /^\d+$/ } readdir($dir));
}


# A shutting down generation may still hold channels for a moment.

sub _check_fds {
    my ($self) = @_;

    my $expected = $self->{fds} // return;

    if (!$self->alive($self->pid())) {
        return;
    }

    if (!wait_for(sub { ($self->_fds() // 0) <= $expected }, 5)) {
        push(@{$self->{problems}}, 'the master gained descriptors: '
             . "$expected at the start, " . $self->_fds() . ' at the end');
    }

    undef $self->{fds};
}


=item redis(NAME, OPTIONS...)

A L<Test::MailPing::Redis> that runs, made at the first call.  The default
NAME is "redis", the one at %%REDIS%%.

=cut

sub redis {
    my ($self, $name, %options) = @_;

    $name //= 'redis';

    return $self->{redis}{$name} //= do {
        my $redis = Test::MailPing::Redis->new($self, $name, %options);
        $redis->start();
        $redis;
    };
}


=item mint(PARTS)

The text of a token, see L<Test::MailPing::Token>; key id 1 and key() unless
others are given.

=cut

sub mint {
    my ($self, %parts) = @_;

    return Test::MailPing::Token::mint(key => $self->key(), key_id => 1,
                                       %parts);
}


=item connect(OPTIONS), request(METHOD, URI, OPTIONS), get(URI, OPTIONS),
raw(BYTES, OPTIONS)

Clients of %%PORT%%, see L<Test::MailPing::HTTP>.

=cut

sub connect {
    my ($self, %options) = @_;

    return Test::MailPing::HTTP->new(port => $self->port(), %options);
}


sub request {
    my ($self, $method, $uri, %options) = @_;

    my %connection;

    for my $name (qw(port unix ssl proxy_protocol timeout)) {
        if (exists $options{$name}) {
            $connection{$name} = delete $options{$name};
        }
    }

    return $self->connect(%connection)->exchange($method, $uri, %options);
}


sub get {
    my ($self, $uri, %options) = @_;

    return $self->request('GET', $uri, %options);
}


sub raw {
    my ($self, $bytes, %options) = @_;

    my $connection = $self->connect(%options);

    $connection->write($bytes);

    return $connection->read_all();
}


=item status()

What the location /status says, decoded.  Dies when it has no such answer.

=cut

sub status {
    my ($self) = @_;

    my $r = $self->get('/status');

    die "/status: " . $r->status() . "\n" if $r->status() != 200;

    return JSON::PP::decode_json($r->body());
}


=item certificate(NAME)

Makes a self-signed certificate for this host, "localhost" by default, as
NAME.crt and NAME.key in the test's directory.

=cut

sub certificate {
    my ($self, $name) = @_;

    $name //= 'localhost';

    my ($code, $output) = run_command('openssl', 'req', '-x509', '-nodes',
        '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
        '-subj', "/CN=$name", '-addext', "subjectAltName=DNS:$name",
        '-days', 2, '-keyout', $self->path("$name.key"),
        '-out', $self->path("$name.crt"));

    $code == 0 || die "openssl: $output\n";

    return $self;
}


=item curl(ARGUMENTS...)

Runs curl, for HTTP/2 above all; returns its exit code and output.

=cut

sub curl {
    my ($self, @arguments) = @_;

    return run_command('curl', '-sS', '--max-time', 20, @arguments);
}


=item done()

Ends the test: stops everything, and adds the last checks and the plan.

=cut

sub done {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    Test::More::is_deeply([ $self->problems() ], [], 'nothing went wrong')
        || $self->_show_log();

    $self->remove();

    if (!@objects) {
        Test::More::done_testing();
    }
}


=item problems(), remove()

The parts of done() for those who judge themselves: problems() stops
everything and returns what the checks found, one line each; remove() ends
what still runs and deletes the directory.

=back

=cut

sub problems {
    my ($self) = @_;

    my $master = $self->pid();

    if (defined $master && !$self->alive($master)) {
        push(@{$self->{problems}}, "the master $master is gone");
        unlink("$self->{prefix}/nginx.pid");

    } elsif (defined $master && !$self->stop()) {
        push(@{$self->{problems}}, "the master $master did not end on QUIT");
        $self->end_processes($self->processes());
    }

    $_->stop() for (values %{$self->{redis}});
    $self->end_daemons();

    # a worker may end a moment after its master

    wait_for(sub { !$self->processes() }, 2);

    for my $pid ($self->processes()) {
        push(@{$self->{problems}},
             "process $pid is left: " . process_title($pid));
        $self->end_processes($pid);
    }

    my @lines;

    for my $name (qw(error.log stderr.log)) {
        if (-e $self->path($name)) {
            push(@lines, split(/\n/, $self->read_file($name)));
        }
    }

    for my $line (@lines) {
        if ($line !~ /\[(?:alert|emerg)\]|Sanitizer|runtime\ error
                      |exited\ on\ signal/x)
        {
            next;
        }

        if (!grep { $line =~ $_ } @{$self->{allowed}}) {
            push(@{$self->{problems}}, $line);
        }
    }

    # what nginx says at its start is in both

    my %seen;

    return grep { !$seen{$_}++ } @{$self->{problems}};
}


sub _show_log {
    my ($self) = @_;

    my @lines = $self->log_lines();
    my $from = @lines > 40 && !$ENV{TEST_NGINX_VERBOSE} ? @lines - 40 : 0;

    Test::More::diag("error.log: $_") for (@lines[$from .. $#lines]);
}


sub remove {
    my ($self) = @_;

    $self->end_daemons();
    $self->end_processes($self->processes());

    @objects = grep { $_ != $self } @objects;

    if (!@objects) {
        alarm(0);
    }

    if ($ENV{TEST_NGINX_LEAVE}) {
        Test::More::diag("left: $self->{prefix}");
        return;
    }

    remove_tree($self->{prefix}, { safe => 0 });
}


# A test that died, or was interrupted, leaves nothing either.

END {
    my $status = $?;

    for my $self (grep { $_->{owner} == $$ } @objects) {
        $self->_show_log();
        $self->remove();
    }

    $? = $status;
}


1;
