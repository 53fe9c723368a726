package Test::MailPing::Day;

# Copyright (C) MailPing

=head1 NAME

Test::MailPing::Day - a day of mail, made up by parameters

=head1 SYNOPSIS

    my $day = Test::MailPing::Day->new(seed => 1, mails => 2000,
                                       set => { opened => 0.5 });

    for my $fetch ($day->fetches()) {
        my $mail = $day->mail($fetch->{mail});
        ...
    }

=head1 DESCRIPTION

The parameters are in t/sim/day.conf unless C<conf> names another file; C<set>
gives other values as text.  The same seed makes the same day.

A mail has C<id>, C<recipient>, C<sent> (seconds), C<hint>.  A fetch has C<time>
(milliseconds), C<mail> (a number), C<kind> (which fetcher), C<truth>,
C<address>, C<method> and C<header> (lines).  Truth is "person" for a fetch that
a person on the recipient's side caused, "gateway", "machine" for all others,
and "shielded" for Apple's relay, of which only Apple could know.  No two
fetches of a mail have the same time.

networks() gives [ CIDR, ASN, name ] of all networks that an ASN database
would have.

=cut

use strict;
use warnings;

use POSIX qw(ceil floor);
use Socket qw(AF_INET AF_INET6 inet_ntop inet_pton);
use Time::Local qw(timegm);

use Test::MailPing qw(repository);


my %unit = (ms => 1, s => 1000, m => 60_000, h => 3_600_000, d => 86_400_000);

# which parameters there are, and what they look like

my %schema = (
    (map { $_ => 'count' } qw(
        mails access.providers mobile.networks companies newsletter.size)),
    (map { $_ => 'number' } qw(persons.mails access.subscribers)),
    (map { $_ => 'share' } qw(
        batch.handover greylist.share opened again.share forward.share
        redirect.share access.ipv6 access.unmapped access.doubtful home.mobile
        vpn.share relay.share apple.protected apple.fetched gmail.prefetch
        gmail.eager gmail.repeat outlook-web.image company.own-asn
        company.zscaler company.cloud company.stripped company.gateway
        isolation.share isolation.hosting scan.share scan.again scan.head
        microsoft.scan newsletter.opened single.share single.opened
        bots.share)),
    (map { $_ => 'curve' } qw(
        hours batch.lead delivery.delay greylist.delay open.delay again.delay
        forward.delay apple.delay gmail.prefetch-delay gmail.repeat-delay
        scan.fast scan.spread
        scan.farm-delay scan.again-delay scan.hold newsletter.delay
        single.delay bots.delay)),
    (map { $_ => 'steps' } qw(
        batch.size batch.rate company.size scan.fetches scan.farm
        gmail.repeats)),
    'date' => 'date',
    'newsletter.time' => 'time',
    'batch.hint' => [ qw(none domain mx) ],
    'recipients' => [ qw(gmail apple microsoft yahoo corporate other) ],
    'work.place' => [ qw(office home mobile) ],
    'browsers.desktop' => [ qw(chrome edge firefox safari) ],
    'browsers.mobile' => [ qw(iphone android) ],
    'scan.headers' => [ qw(image document poor) ],
    (map { $_ => [ qw(gmail yahoo outlook-web apple-mail outlook-desktop
                      mail-client browser) ] } qw(
        programs.gmail programs.apple programs.microsoft programs.yahoo
        programs.corporate programs.other newsletter.programs)),
);

# what the model asks for by name

my @networks = qw(google yahoo outlook azure eop relay relay-cdn vpn vpn-cdn77
                  zscaler aws leaseweb hetzner ovh);


=head1 METHODS

=over

=item read_parameters(PATH, SET)

The parameters of a file as a hash of their values; dies at an unknown, missing
or wrong one, with file and line.

=cut

sub read_parameters {
    my ($path, $set) = @_;

    my %lines;

    open(my $file, '<', $path) || die "cannot open $path: $!\n";

    while (my $line = <$file>) {
        $line =~ s/(?:^|\s)#.*//s;
        $line =~ s/^\s+|\s+$//g;

        next if $line eq '';

        my ($name, $value) = split(' ', $line, 2);

        die "$path:$.: parameter \"$name\" is duplicate\n" if $lines{$name};

        $lines{$name} = [ "$path:$.", $value // '' ];
    }

    for my $name (keys %{$set // {}}) {
        $lines{$name} = [ 'set', $set->{$name} ];
    }

    my %p = (gateway => {}, network => {});

    for my $name (sort keys %lines) {
        my ($where, $value) = @{$lines{$name}};

        if ($name =~ /^(gateway|network)\.(.+)/) {
            my $read = $1 eq 'gateway' ? \&_gateway : \&_network;

            $p{$1}{$2} = $read->($value)
                         // die "$where: wrong value of \"$name\": $value\n";
            next;
        }

        my $type = $schema{$name}
                   // die "$where: unknown parameter \"$name\"\n";

        $p{$name} = _value($type, $value)
                    // die "$where: wrong value of \"$name\": $value\n";
    }

    for my $name (sort(keys %schema), map { "network.$_" } @networks) {
        die "$path: parameter \"$name\" is missing\n" if !$lines{$name};
    }

    my $sum = 0;

    for my $name (sort keys %{$p{gateway}}) {
        my $g = $p{gateway}{$name};

        $sum += $g->{share};

        for my $network (@{$g->{networks}}) {
            die "$lines{\"gateway.$name\"}[0]: unknown network \"$network\"\n"
                if $network !~ /^(?:unknown|single)$/
                   && !$p{network}{$network};
        }
    }

    die "$path: the shares of gateways make $sum, not 1\n"
        if abs($sum - 1) > 0.001;

    return \%p;
}


sub _time {
    my ($text) = @_;

    return $text =~ /^(\d+(?:\.\d+)?)(ms|[smhd])$/ ? $1 * $unit{$2} : undef;
}


sub _share {
    my ($text) = @_;

    return $text =~ /^[01](?:\.\d+)?$/ && $text <= 1 ? 0 + $text : undef;
}


sub _value {
    my ($type, $text) = @_;

    if (ref $type || $type eq 'curve' || $type eq 'steps') {
        return _list($type, $text);
    }

    return _time($text) if $type eq 'time';
    return _share($text) if $type eq 'share';

    if ($type eq 'date') {
        return $text =~ /^(\d{4})-(\d\d)-(\d\d)$/
               ? eval { 1000 * timegm(0, 0, 0, $3, $2 - 1, $1) } : undef;
    }

    return $text =~ ($type eq 'count' ? qr/^\d+$/ : qr/^\d+(?:\.\d+)?$/)
           && $text > 0 ? 0 + $text : undef;
}


# A mix, names and shares that make 1; or a curve, values and shares that grow.

sub _list {
    my ($type, $text) = @_;

    my (@list, %seen);
    my $sum = 0;

    for my $word (split(' ', $text)) {
        my ($name, $share) = $word =~ /^([^=]+)=([^=]+)$/ or return undef;

        $share = _share($share) // return undef;

        if (ref $type) {
            return undef if $seen{$name}++ || !grep { $_ eq $name } @$type;
            $sum += $share;
            push(@list, [ $name, $sum ]);
            next;
        }

        if ($type eq 'curve') {
            $name = _time($name) // return undef;

        } elsif ($name !~ /^[1-9]\d*$/) {
            return undef;
        }

        return undef if @list && ($name <= $list[-1][0]
                                  || $share < $list[-1][1]);

        push(@list, [ $name, $share ]);
    }

    return undef if !@list || ref $type && abs($sum - 1) > 0.001;

    return \@list;
}


sub _gateway {
    my ($text) = @_;

    my %g = map { /^([^=]+)=(.+)$/ ? ($1, $2) : ($_, '') } split(' ', $text);

    return undef if join(' ', sort keys %g) ne 'mx networks pool share speed'
                    || $g{mx} !~ /^[01]$/ || $g{pool} !~ /^[1-9]\d*$/
                    || $g{speed} !~ /^(?:fast|spread|farm)$/;

    $g{share} = _share($g{share}) // return undef;
    $g{networks} = [ split(/,/, $g{networks}) ];

    return \%g;
}


sub _network {
    my ($text) = @_;

    my ($asn, @cidrs) = split(' ', $text);

    return undef if ($asn // '') !~ /^\d+$/ || !@cidrs;

    @cidrs = map { /^\@(.+)/ ? _rules_file($1) : $_ } @cidrs;

    for (@cidrs) {
        m|^([0-9a-f.:]+)/(\d+)$| || return undef;
        inet_pton(index($1, ':') < 0 ? AF_INET : AF_INET6, $1) // return undef;
    }

    return { asn => 0 + $asn, cidrs => \@cidrs };
}


sub _rules_file {
    my ($name) = @_;

    open(my $file, '<', repository() . "/ngx_mailping_module/rules/$name")
        || return '';

    return map { /^\s*([^#\s]+)/ ? $1 : () } <$file>;
}


=item new(seed => 1, mails, conf, set)

The day of these parameters; C<mails> overrides theirs.

=cut

sub new {
    my ($class, %options) = @_;

    my $p = read_parameters($options{conf}
                            // repository() . '/t/sim/day.conf',
                            { %{$options{set} // {}},
                              defined $options{mails}
                                  ? (mails => $options{mails}) : () });

    my $self = bless {
        p => $p,
        start => $p->{date},
        end => $p->{date} + 2 * $unit{d},
        networks => [],
        mails => [],
        fetches => [],
        made => 0,
        made_six => 0,
    }, $class;

    srand(int($options{seed} // 1));

    $self->_make_networks();
    $self->_make_gateways();
    $self->_make_companies();
    $self->_make_persons();
    $self->_newsletter();
    $self->_singles();
    $self->_batches();
    $self->_arrange();

    return $self;
}


=item start(), end(), fetches(), mails(), mail(NUMBER), networks()

What the day is made of; start() is its midnight, end() the one a day after it,
until when its mails are read, in milliseconds.

=back

=cut

sub start {
    return $_[0]{start};
}


sub end {
    return $_[0]{end};
}


sub fetches {
    return @{$_[0]{fetches}};
}


sub mails {
    return @{$_[0]{mails}};
}


sub mail {
    return $_[0]{mails}[$_[1]];
}


sub networks {
    return @{$_[0]{networks}};
}


# Chance.

sub _pick {
    return $_[0][int(rand(@{$_[0]}))];
}


sub _chance {
    my ($self, $name) = @_;

    return rand() < $self->{p}{$name};
}


sub _mix {
    my ($self, $name) = @_;

    return _of_mix($self->{p}{$name});
}


sub _of_mix {
    my ($mix) = @_;

    my $r = rand() * $mix->[-1][1];

    for (@$mix) {
        return $_->[0] if $r < $_->[1];
    }

    return $mix->[-1][0];
}


# A time of a curve in milliseconds, undef above its end.

sub _curve {
    my ($self, $name) = @_;

    my $curve = $self->{p}{$name};
    my $r = rand();
    my ($value, $share) = ($curve->[0][0] / 10, 0);

    for my $point (@$curve) {
        if ($r < $point->[1]) {
            my $part = ($r - $share) / ($point->[1] - $share);

            return floor($value * ($point->[0] / $value) ** $part);
        }

        ($value, $share) = @$point;
    }

    return undef;
}


# A whole number of a curve.

sub _steps {
    my ($self, $name) = @_;

    my $curve = $self->{p}{$name};
    my $r = rand() * $curve->[-1][1];

    return $curve->[0][0] if $r < $curve->[0][1];

    for my $i (1 .. $#$curve) {
        my ($low, $high) = @$curve[$i - 1, $i];

        if ($r < $high->[1]) {
            my $part = ($r - $low->[1]) / ($high->[1] - $low->[1]);

            return ceil($low->[0] * ($high->[0] / $low->[0]) ** $part);
        }
    }

    return $curve->[-1][0];
}


# Networks.  What is made up lies in 240.0.0.0/4, which nobody has, and in
# 3fff::/20, which is for documentation; both are on no list.

sub _make_networks {
    my ($self) = @_;

    my $p = $self->{p};

    for my $name (sort keys %{$p->{network}}) {
        my $n = $p->{network}{$name};

        push(@{$self->{networks}}, map { [ $_, $n->{asn}, $name ] }
                                       @{$n->{cidrs}});
    }

    $self->{asn} = 4_200_000_000;

    $self->{providers} = [ map { ++$self->{asn} }
                               (1 .. $p->{'access.providers'}) ];
    $self->{doubtful} = [ (_rules_file('hosting-doubtful-asn.txt'))[0 .. 9] ];

    $self->{mobile} = [ map { $self->_new_network(
                                  _pick($self->{providers}), 'carrier') }
                            (1 .. $p->{'mobile.networks'}) ];
}


# A new masked network, in an autonomous system unless asn is 0.

sub _new_network {
    my ($self, $asn, $name, $six) = @_;

    my $cidr;

    if ($six) {
        my $n = $self->{made_six}++;

        $cidr = sprintf('3fff:%x:%x::/48', $n >> 16, $n & 0xffff);

    } else {
        my $n = $self->{made}++;

        $cidr = sprintf('%d.%d.%d.0/24', 240 + ($n >> 16), $n >> 8 & 255,
                        $n & 255);
    }

    push(@{$self->{networks}}, [ $cidr, $asn, $name ]) if $asn;

    return $cidr;
}


# A random address of a network.

sub _address {
    my ($self, $cidr) = @_;

    my ($address, $bits) = split(m|/|, $cidr);
    my $family = index($address, ':') < 0 ? AF_INET : AF_INET6;
    my $packed = unpack('B*', inet_pton($family, $address));
    my $free = length($packed) - $bits;

    substr($packed, $bits, $free, join('', map { int(rand(2)) } (1 .. $free)))
        if $free > 0;

    return inet_ntop($family, pack('B*', $packed));
}


sub _address_of {
    my ($self, @names) = @_;

    return $self->_address(_pick($self->{p}{network}{_pick(\@names)}{cidrs}));
}


# A masked network of those that a name has, or the whole where it is smaller.

sub _part {
    my ($self, $name) = @_;

    my $cidr = _pick($self->{p}{network}{$name}{cidrs});
    my ($address, $bits) = split(m|/|, $cidr);
    my $mask = index($address, ':') < 0 ? 24 : 48;

    return $cidr if $bits >= $mask;

    my $part = $self->_address($cidr);

    return $mask == 24 ? $part =~ s|\.\d+$|.0/24|r
           : inet_ntop(AF_INET6, substr(inet_pton(AF_INET6, $part), 0, 6)
                                 . "\0" x 10) . '/48';
}


sub _make_gateways {
    my ($self) = @_;

    for my $name (sort keys %{$self->{p}{gateway}}) {
        my $g = { name => $name, %{$self->{p}{gateway}{$name}} };

        my $asn = ++$self->{asn};
        my @names = @{$g->{networks}};

        for my $i (0 .. $g->{pool} - 1) {
            my $network = $names[$i % @names];

            push(@{$g->{parts}}, $network eq 'single' ? undef
                 : $network eq 'unknown' ? $self->_new_network($asn, 'scan')
                 : $self->_part($network));
        }

        my %class = (unknown => 'unknown network', single => 'one mail only',
                     eop => 'microsoft eop', azure => 'microsoft azure');

        $g->{class} = $g->{speed} eq 'farm' ? 'farm'
                      : $class{$names[0]}
                      // ($names[0] =~ /^(?:aws|leaseweb|m247|hetzner|ovh)$/
                          ? 'hosting' : 'own network');
        $g->{agents} = [ map { _browser(_pick([ qw(chrome chrome edge
                                                   firefox safari) ])) }
                             (1 .. 2) ];

        push(@{$self->{gateways}}, $g);
    }
}


sub _make_companies {
    my ($self) = @_;

    my $p = $self->{p};

    for my $i (1 .. $p->{companies}) {
        my $asn = $self->_chance('company.own-asn') ? ++$self->{asn}
                                                    : _pick($self->{providers});

        my $company = {
            size => $self->_steps('company.size'),
            office => $self->_address($self->_new_network($asn, 'company')),
        };

        if ($self->_chance('company.zscaler')) {
            $company->{proxy} = 'zscaler';
            $company->{exit} = $self->_part('zscaler');

        } elsif ($self->_chance('company.cloud')) {
            $company->{proxy} = 'cloud proxy';
            $company->{exit} = $self->_part(_pick([ qw(aws hetzner ovh) ]));
        }

        $company->{stripped} = $self->_chance('company.stripped');

        push(@{$self->{companies}}, $company);
        push(@{$self->{desks}}, ($company) x $company->{size});
    }

    $self->_protect_companies();
}


# Each gateway gets its share of employees, from the largest company on, so that
# no day has twice as much of one kind as the next, and large vendors get large
# companies.

sub _protect_companies {
    my ($self) = @_;

    my $desks = @{$self->{desks}};
    my $protected = $self->{p}{'company.gateway'};
    my @want = ([ undef, $desks * (1 - $protected) ]);

    for my $gateway (@{$self->{gateways}}) {
        push(@want, [ $gateway, $desks * $protected * $gateway->{share} ]);
    }

    for my $company (sort { $b->{size} <=> $a->{size} }
                     @{$self->{companies}})
    {
        my ($most) = sort { $b->[1] <=> $a->[1] } @want;

        $company->{gateway} = $most->[0];
        $most->[1] -= $company->{size};
    }
}


sub _make_persons {
    my ($self) = @_;

    my $p = $self->{p};
    my $count = ceil($p->{mails} / $p->{'persons.mails'});
    my @homes;

    for my $i (1 .. ceil($count / $p->{'access.subscribers'})) {
        my $r = rand();
        my $asn = $r < $p->{'access.unmapped'} ? 0
                  : $r < $p->{'access.unmapped'} + $p->{'access.doubtful'}
                  ? _pick($self->{doubtful}) : _pick($self->{providers});

        push(@homes, $self->_new_network($asn, 'access',
                                         $self->_chance('access.ipv6')));
    }

    for my $i (1 .. $count) {
        push(@{$self->{persons}},
             $self->_person($self->_mix('recipients'), \@homes));
    }

    $self->{homes} = \@homes;
}


sub _person {
    my ($self, $provider, $homes, $program) = @_;

    my $person = {
        number => ++$self->{people},
        provider => $provider,
        program => $program // $self->_mix("programs.$provider"),
        home => $self->_address(_pick($homes)),
        desktop => _browser($self->_mix('browsers.desktop')),
        phone => _browser($self->_mix('browsers.mobile')),
        client => _mail_client(),
        protected => $self->_chance('apple.protected'),
        relay => $self->_chance('relay.share'),
        vpn => $self->_chance('vpn.share'),
    };

    if ($provider eq 'corporate') {
        $person->{company} = _pick($self->{desks});
        $person->{isolation} = $person->{company}{gateway}
                               && $self->_chance('isolation.share');

    } elsif ($self->_chance('redirect.share')) {
        $person->{program} = $provider eq 'gmail' ? 'browser' : 'gmail';
    }

    return $person;
}


# Programs: what they send, in their order.  Host is "%HOST%" until it is sent.

sub _lines {
    my $text = '';

    while (my ($name, $value) = splice(@_, 0, 2)) {
        $text .= "$name: $value\r\n" if defined $value;
    }

    return $text;
}


sub _browser {
    my ($name) = @_;

    my $major = 138 + int(rand(8));
    my $kit = 'AppleWebKit/537.36 (KHTML, like Gecko)';
    my $windows = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64)';
    my $safari = '18.' . int(rand(6));

    my %agents = (
        chrome => "$windows $kit Chrome/$major.0.0.0 Safari/537.36",
        edge => "$windows $kit Chrome/$major.0.0.0 Safari/537.36"
                . " Edg/$major.0.0.0",
        firefox => "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:$major.0)"
                   . " Gecko/20100101 Firefox/$major.0",
        safari => 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)'
                  . ' AppleWebKit/605.1.15 (KHTML, like Gecko)'
                  . " Version/$safari Safari/605.1.15",
        iphone => 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)'
                  . ' AppleWebKit/605.1.15 (KHTML, like Gecko)'
                  . " Version/$safari Mobile/15E148 Safari/604.1",
        android => "Mozilla/5.0 (Linux; Android 10; K) $kit"
                   . " Chrome/$major.0.0.0 Mobile Safari/537.36",
    );

    return { name => $name, major => $major, agent => $agents{$name},
             language => _pick([ 'en-US,en;q=0.9', 'en-GB,en;q=0.9',
                                 'de-DE,de;q=0.9,en;q=0.8',
                                 'fr-FR,fr;q=0.9,en;q=0.8' ]) };
}


# How a browser asks for an image of a page.

sub _image {
    my ($b, $referer) = @_;

    my $name = $b->{name};

    if ($name eq 'firefox') {
        return _lines('Host', '%HOST%', 'User-Agent', $b->{agent},
                      'Accept', 'image/avif,image/webp,image/png,image/svg+xml,'
                                . 'image/*;q=0.8,*/*;q=0.5',
                      'Accept-Language', $b->{language},
                      'Accept-Encoding', 'gzip, deflate, br, zstd',
                      'Connection', 'keep-alive', 'Referer', $referer,
                      'Sec-Fetch-Dest', 'image', 'Sec-Fetch-Mode', 'no-cors',
                      'Sec-Fetch-Site', 'cross-site');
    }

    if ($name eq 'safari' || $name eq 'iphone') {
        return _lines('Host', '%HOST%', 'Sec-Fetch-Site', 'cross-site',
                      'Accept', 'image/webp,image/avif,image/jxl,image/heic,'
                                . 'image/heic-sequence,video/*;q=0.8,image/png,'
                                . 'image/svg+xml,image/*;q=0.8,*/*;q=0.5',
                      'Connection', 'keep-alive', 'Sec-Fetch-Mode', 'no-cors',
                      'User-Agent', $b->{agent}, 'Referer', $referer,
                      'Sec-Fetch-Dest', 'image',
                      'Accept-Language', $b->{language},
                      'Accept-Encoding', 'gzip, deflate, br');
    }

    return _lines('Host', '%HOST%', 'Connection', 'keep-alive',
                  _hints($b),
                  'Accept', 'image/avif,image/webp,image/apng,image/svg+xml,'
                            . 'image/*,*/*;q=0.8',
                  'Sec-Fetch-Site', 'cross-site', 'Sec-Fetch-Mode', 'no-cors',
                  'Sec-Fetch-Dest', 'image', 'Referer', $referer,
                  'Accept-Encoding', 'gzip, deflate, br, zstd',
                  'Accept-Language', $b->{language});
}


# Chrome's client hints stand around its agent.

sub _hints {
    my ($b) = @_;

    my $brand = $b->{name} eq 'edge' ? 'Microsoft Edge' : 'Google Chrome';
    my $mobile = $b->{name} eq 'android';

    return ('sec-ch-ua-platform', $mobile ? '"Android"' : '"Windows"',
            'User-Agent', $b->{agent},
            'sec-ch-ua', "\"Not)A;Brand\";v=\"8\", \"Chromium\";"
                         . "v=\"$b->{major}\", \"$brand\";v=\"$b->{major}\"",
            'sec-ch-ua-mobile', $mobile ? '?1' : '?0');
}


# How it asks for what it takes for a page.

sub _document {
    my ($b) = @_;

    return _lines('Host', '%HOST%', 'Connection', 'keep-alive',
                  'Upgrade-Insecure-Requests', 1, 'User-Agent', $b->{agent},
                  'Accept', 'text/html,application/xhtml+xml,application/xml;'
                            . 'q=0.9,image/avif,image/webp,*/*;q=0.8',
                  'Sec-Fetch-Site', 'none', 'Sec-Fetch-Mode', 'navigate',
                  'Sec-Fetch-User', '?1', 'Sec-Fetch-Dest', 'document',
                  'Accept-Encoding', 'gzip, deflate, br',
                  'Accept-Language', 'en-US,en;q=0.9');
}


# A library that wears a browser's name.

sub _poor {
    my ($b) = @_;

    return _lines('Host', '%HOST%', 'User-Agent', $b->{agent},
                  'Accept-Encoding', 'gzip, deflate', 'Accept', '*/*',
                  'Connection', 'keep-alive');
}


sub _plain {
    my ($agent) = @_;

    return _lines('Host', '%HOST%', 'Connection', 'keep-alive',
                  'Accept', '*/*', 'User-Agent', $agent,
                  'Accept-Language', 'en-US,en;q=0.9',
                  'Accept-Encoding', 'gzip, deflate, br');
}


sub _outlook {
    return _lines('Accept', '*/*', 'User-Agent', 'Mozilla/4.0 (compatible;'
                  . ' ms-office; MSOffice 16)', 'Accept-Encoding',
                  'gzip, deflate', 'Host', '%HOST%', 'Connection',
                  'Keep-Alive');
}


sub _apple_mail {
    return _plain(_pick([
        'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15'
        . ' (KHTML, like Gecko)',
        'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)'
        . ' AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148' ]));
}


sub _mail_client {
    return _plain(_pick([
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101'
        . ' Thunderbird/128.12.0',
        'Outlook-iOS/729.4.4.prod.iphone (4.2519.0)',
        'Outlook-Android/4.2519.1',
        'Mozilla/5.0 (Linux; Android 14; SM-S921B Build/UP1A.231005.007; wv)'
        . ' AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0'
        . ' Chrome/138.0.7204.63 Mobile Safari/537.36',
        'Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A.240705.004; wv)'
        . ' AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0'
        . ' Chrome/138.0.7204.63 Mobile Safari/537.36 SamsungEmail/6.1',
        'Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook'
        . ' 16.0.17928; Pro)' ]));
}


my $gmail = _lines('Host', '%HOST%', 'Connection', 'keep-alive',
    'User-Agent', 'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0'
                  . ' (via ggpht.com GoogleImageProxy)',
    'Accept-Encoding', 'gzip, deflate');

my $gmail_prefetch = _lines('Host', '%HOST%', 'Connection', 'keep-alive',
    'User-Agent', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36'
                  . ' (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36'
                  . ' Edge/12.246 Mozilla/5.0',
    'Accept-Encoding', 'gzip, deflate');

my $yahoo = _lines('Host', '%HOST%', 'Connection', 'keep-alive',
    'User-Agent', 'YahooMailProxy;'
                  . ' https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html',
    'Accept', '*/*', 'Accept-Encoding', 'gzip, deflate');

my $apple = _lines('Host', '%HOST%', 'Accept', '*/*',
    'Accept-Language', 'en-US,en;q=0.9', 'Connection', 'keep-alive',
    'Accept-Encoding', 'gzip, deflate, br', 'User-Agent', 'Mozilla/5.0');

my @robots = (
    'Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)',
    'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
    'python-requests/2.32.3', 'curl/8.5.0', 'Go-http-client/1.1',
    'Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/bot)',
    'facebookexternalhit/1.1'
    . ' (+http://www.facebook.com/externalhit_uatext.php)',
);


# One fetch; without a time there is none.

sub _fetch {
    my ($self, $mail, $time, $kind, $truth, $address, $header, $method) = @_;

    if ($time < $self->{start} || $time >= $self->{end}) {
        return;
    }

    push(@{$self->{fetches}}, {
        mail => $mail->{number},
        time => $time,
        kind => $kind,
        truth => $truth,
        address => $address,
        header => $header,
        method => $method // 'GET',
    });
}


# A person looks.  What Apple's relay fetched lies in the program's cache.

sub _look {
    my ($self, $mail, $person, $time) = @_;

    my $program = $person->{program};

    if ($program eq 'gmail') {
        my $repeats = $self->_chance('gmail.repeat')
                      ? $self->_steps('gmail.repeats') : 0;

        for my $i (0 .. $repeats) {
            $self->_fetch($mail, $time, 'gmail', 'person',
                          $self->_address_of('google'), $gmail);
            $time += $self->_curve('gmail.repeat-delay');
        }

        return;
    }

    if ($program eq 'yahoo') {
        return $self->_fetch($mail, $time, 'yahoo', 'person',
                             $self->_address_of('yahoo'), $yahoo);
    }

    if ($program eq 'outlook-web') {
        return $self->_fetch($mail, $time, 'outlook on the web', 'person',
                             $self->_address_of('outlook'),
                             $self->_chance('outlook-web.image')
                                 ? _image($person->{desktop})
                                 : _plain($person->{desktop}{agent}));
    }

    return if $program eq 'apple-mail' && $person->{protected};

    if ($person->{isolation}) {
        return $self->_isolated($mail, $person, $time);
    }

    my ($place, $address) = $self->_place($person);

    if ($program eq 'browser') {
        my $b = $place eq 'mobile' ? $person->{phone} : $person->{desktop};

        if ($person->{relay} && $b->{name} =~ /^(?:safari|iphone)$/) {
            $place = 'relay';
            $address = $self->_address_of('relay', 'relay-cdn');
        }

        my $header = _image($b, $person->{number} % 3
                                ? 'https://webmail.example.net/' : undef);

        if ($place eq 'office' && $person->{company}{stripped}) {
            $header =~ s/^Accept-Language: .*\r\n//m;
        }

        return $self->_fetch($mail, $time, "browser, $place", 'person',
                             $address, $header);
    }

    my $header = $program eq 'apple-mail' ? _apple_mail()
                 : $program eq 'outlook-desktop' ? _outlook()
                 : $person->{client};

    $program =~ tr/-/ /;

    $self->_fetch($mail, $time, "$program, $place", 'person', $address,
                  $header);
}


sub _place {
    my ($self, $person) = @_;

    my $company = $person->{company};
    my $place = $company ? $self->_mix('work.place')
                : $self->_chance('home.mobile') ? 'mobile' : 'home';

    # desktops stay at home

    $place = 'home' if $place eq 'mobile'
                       && $person->{program} eq 'outlook-desktop';

    if ($place eq 'office') {
        return ($company->{proxy} // 'office',
                $company->{exit} ? $self->_address($company->{exit})
                                 : $company->{office});
    }

    if ($person->{vpn}) {
        return ('vpn', $self->_address_of('vpn', 'vpn-cdn77'));
    }

    return $place eq 'mobile'
           ? ('mobile', $self->_address(_pick($self->{mobile})))
           : ('home', $person->{home});
}


sub _isolated {
    my ($self, $mail, $person, $time) = @_;

    my $gateway = $person->{company}{gateway};
    my $hosting = $gateway->{class} ne 'own network'
                  || $self->_chance('isolation.hosting');

    $self->_fetch($mail, $time, 'isolation, ' . ($hosting ? 'hosting' : 'own'),
                  'person',
                  $hosting ? $self->_address_of('aws', 'leaseweb', 'hetzner')
                           : $self->_address(_pick($gateway->{parts})),
                  _image($person->{desktop}));
}


# A gateway scans a mail that comes in.

sub _scan {
    my ($self, $mail, $gateway, $time) = @_;

    my $farm = $gateway->{speed} eq 'farm';
    my $curve = $farm ? 'scan.fast' : "scan.$gateway->{speed}";
    my $count = $self->_steps($farm ? 'scan.farm' : 'scan.fetches');
    my @parts = $self->_scan_parts($gateway, $count, $farm);
    my $headers = $self->_mix('scan.headers');
    my $first = $time + $self->_curve($curve);
    my @times = ($first);

    for my $i (2 .. $count) {
        push(@times, $farm ? $first + $self->_curve('scan.farm-delay')
                           : $time + $self->_curve($curve));
    }

    if ($self->_chance('scan.again')) {
        push(@times, $first + $self->_curve('scan.again-delay'));
        push(@parts, $parts[0]);
    }

    for my $i (0 .. $#times) {
        my $b = $farm ? $gateway->{agents}[0] : _pick($gateway->{agents});

        my $header = $headers eq 'image' ? _image($b)
                     : $headers eq 'document' ? _document($b) : _poor($b);

        $self->_fetch($mail, $times[$i], "gateway, $gateway->{class}",
                      'gateway', $self->_address($parts[$i]), $header,
                      $self->_chance('scan.head') ? 'HEAD' : 'GET');
    }
}


sub _scan_parts {
    my ($self, $gateway, $count, $farm) = @_;

    if (!defined $gateway->{parts}[0]) {
        my $part = $self->_new_network(++$self->{asn}, 'sandbox');

        return ($part) x $count;
    }

    my @parts = @{$gateway->{parts}};

    if (!$farm) {
        return map { _pick(\@parts) } (1 .. $count);
    }

    # a farm takes different ones

    return map { splice(@parts, int(rand(@parts)), 1) } (1 .. $count);
}


# Mails.

sub _mail {
    my ($self, $person, $minted, $handed, $batch) = @_;

    my $company = $person->{company};
    my $gateway = $company && $company->{gateway};
    my $hint = 'unknown';

    if ($batch->{hint} ne 'none'
        && $person->{provider} =~ /^(?:gmail|apple|microsoft|yahoo)$/)
    {
        $hint = $person->{provider};

    } elsif ($batch->{hint} eq 'mx') {
        $hint = $gateway && $gateway->{mx} ? 'gateway'
                : !$company ? 'other'
                : $person->{program} eq 'gmail' ? 'gmail'
                : $person->{program} =~ /^outlook/ ? 'microsoft' : 'other';
    }

    my $number = @{$self->{mails}};

    push(@{$self->{mails}}, {
        number => $number,
        id => "m$number",
        recipient => "r$person->{number}",
        sent => floor(($batch->{handover} ? $handed : $minted) / 1000),
        handover => $batch->{handover},
        single => $batch->{single} // 0,
        hint => $hint,
        handed => $handed,
        provider => $person->{provider},
    });

    return $self->{mails}[-1];
}


# What happens to a mail after its hand-over.

sub _deliver {
    my ($self, $mail, $person) = @_;

    my $company = $person->{company};
    my $time = $mail->{handed} + $self->_curve('delivery.delay');

    if ($person->{provider} =~ /^(?:corporate|other)$/
        && $self->_chance('greylist.share'))
    {
        $time += $self->_curve('greylist.delay');
    }

    if ($company && $company->{gateway} && $self->_chance('scan.share')) {
        $self->_scan($mail, $company->{gateway}, $time);
        $time += $self->_curve('scan.hold');

    } elsif ($person->{provider} eq 'microsoft'
             && $self->_chance('microsoft.scan'))
    {
        my ($eop) = grep { $_->{name} eq 'eop' } @{$self->{gateways}};

        $self->_scan($mail, $eop, $time) if $eop;
    }

    if ($self->_chance('bots.share')) {
        my $delay = $self->_curve('bots.delay');

        $self->_fetch($mail, $time + $delay, 'robot', 'machine',
                      $self->_address_of('aws', 'hetzner', 'leaseweb'),
                      _lines('Host', '%HOST%', 'User-Agent', _pick(\@robots),
                             'Accept', '*/*', 'Accept-Encoding', 'gzip'))
            if defined $delay;
    }

    $self->_read($mail, $person, $time, $mail->{single} ? 'single.delay'
                                                       : 'open.delay',
                 $self->_chance($mail->{single} ? 'single.opened' : 'opened'));
}


sub _read {
    my ($self, $mail, $person, $time, $curve, $opened) = @_;

    my $p = $self->{p};

    if ($person->{program} eq 'apple-mail' && $person->{protected}
        && $self->_chance('apple.fetched'))
    {
        $self->_fetch($mail, $time + $self->_curve('apple.delay'),
                      'apple, shielded', 'shielded',
                      $self->_address_of('relay', 'relay-cdn'), $apple);
    }

    if ($person->{program} eq 'gmail') {
        if ($opened && $self->_chance('gmail.prefetch')) {
            $self->_fetch($mail, $time + $self->_curve('gmail.prefetch-delay'),
                          'gmail, prefetch', 'machine',
                          $self->_address_of('google'), $gmail_prefetch);
        }

        if ($self->_chance('gmail.eager')) {
            $self->_fetch($mail, $time + $self->_curve('gmail.prefetch-delay'),
                          'gmail, eager', 'machine',
                          $self->_address_of('google'), $gmail);
        }
    }

    return if !$opened;

    my $delay = $self->_curve($curve) // return;
    my $look = $time + $delay;

    $self->_look($mail, $person, $look);

    if ($self->_chance('forward.share')) {
        my $other = _pick($self->{persons});

        $self->_read($mail, $other, $look, 'forward.delay', 1);
    }

    while ($self->_chance('again.share')) {
        $look += $self->_curve('again.delay');
        $self->_look($mail, $person, $look);
    }
}


sub _newsletter {
    my ($self) = @_;

    my $p = $self->{p};
    my $handed = $self->{start} + $p->{'newsletter.time'};
    my $office = $self->_new_network(++$self->{asn}, 'company');
    my $company = { office => $self->_address($office) };
    my $batch = { hint => 'none', handover => 1 };

    # a small day has no room for all of them

    my $size = $p->{'newsletter.size'} < $p->{mails} / 4
               ? $p->{'newsletter.size'} : floor($p->{mails} / 4);

    for my $i (1 .. $size) {
        my $person = $self->_person('corporate', $self->{homes},
                                    $self->_mix('newsletter.programs'));

        $person->{company} = $company;
        $person->{isolation} = 0;

        my $mail = $self->_mail($person, $handed, $handed, $batch);
        my $from = @{$self->{fetches}};

        $self->_read($mail, $person, $handed + $self->_curve('scan.hold'),
                     'newsletter.delay', $self->_chance('newsletter.opened'));

        for my $fetch (@{$self->{fetches}}[$from .. $#{$self->{fetches}}]) {
            $fetch->{kind} = 'newsletter at nine'
                if $fetch->{truth} eq 'person';
        }

        $handed += 50;
    }
}


sub _singles {
    my ($self) = @_;

    my $p = $self->{p};

    for my $i (1 .. $p->{mails} * $p->{'single.share'}) {
        my $person = _pick($self->{persons});
        my $minted = $self->{start} + $self->_curve('hours');

        my $batch = {
            hint => $self->_mix('batch.hint'),
            handover => $self->_chance('batch.handover'),
            single => 1,
        };

        my $mail = $self->_mail($person, $minted,
                                $minted + int(rand(1000)), $batch);

        $self->_deliver($mail, $person);
    }
}


sub _batches {
    my ($self) = @_;

    my $p = $self->{p};

    while (@{$self->{mails}} < $p->{mails}) {
        my $size = $self->_steps('batch.size');
        my $left = $p->{mails} - @{$self->{mails}};
        my $rate = $self->_steps('batch.rate');
        my $minted = $self->{start} + $self->_curve('hours');
        my $first = $minted + $self->_curve('batch.lead');

        my $batch = {
            hint => $self->_mix('batch.hint'),
            handover => $self->_chance('batch.handover'),
        };

        for my $i (0 .. ($size < $left ? $size : $left) - 1) {
            my $person = _pick($self->{persons});
            my $mail = $self->_mail($person, $minted,
                                    $first + floor(1000 * $i / $rate), $batch);

            $self->_deliver($mail, $person);
        }
    }
}


# In the order of time, each fetch of a mail at a time of its own.

sub _arrange {
    my ($self) = @_;

    my @fetches = sort { $a->{time} <=> $b->{time}
                         || $a->{mail} <=> $b->{mail} } @{$self->{fetches}};
    my %last;

    for my $fetch (@fetches) {
        my $last = $last{$fetch->{mail}} // 0;

        $fetch->{time} = $last + 1 if $fetch->{time} <= $last;
        $last{$fetch->{mail}} = $fetch->{time};
    }

    $self->{fetches} = [ sort { $a->{time} <=> $b->{time}
                                || $a->{mail} <=> $b->{mail} } @fetches ];
}


1;
