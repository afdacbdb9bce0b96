"""The SELinux types of ports.

A module cannot look up the type of a port where it is loaded, and udica looks it up on the machine that it runs
on, which need not be the one where a capture is evaluated. So this module has the ports of Fedora's policy as
of 2024; the policies of RHEL, CentOS and SUSE, where container-selinux is in use, are made from it. Source:
github.com/fedora-selinux/selinux-policy, policy/modules/kernel/corenetwork.te.in, which calls a port's type
NAME_port_t.
"""

import functools

_TCP = """
afs3_callback:7001 afs_fs:2040 afs_pt:7002 agentx:705 amanda:10080-10083 amavisd_recv:10024 amavisd_send:10025
amqp:5671-5672,15672 aol:5190-5193 apc:3052 apcupsd:3551 apertus_ldp:539 appswitch_emp:2616 asterisk:1720
audit:60 auth:113 bacula:9103 bctp:8999 bfd_control:3784 bfd_echo:3785 bfd_multi:4784 bgp:179,2605 boinc:31416
boinc_client:1043 boothd:9929 brlp:4101 certmaster:51235 clamd:3310 cluster:5149,40040,50006-50008 cma:1050
cmadmin:2617 cobbler:25151 commplex_link:4331,5001 commplex_main:5000 condor:9618 conman:7890 connlcli:1358
couchdb:5984,6984 ctdb:4379 cvs:2401 cyphesis:6767,6769,6780-6799 cyrus_imapd:2005 daap:3689 dbskkd:1178
dccm:5679 dey_keyneg:8750 dey_sapi:4330 dhcpc:68,546,5546 dhcpd:547-548,647,847,7911 dict:2628 distccd:3632
dns:53,853 dnssec:8955 dogtag:7390 echo:7 efs:520 embrace_dp_c:3198 epmap:135 epmd:4369 fac_restore:5582
fingerd:79 firepower:2615 flash:843,1935 fmpro_internal:5003 freeipmi:9225 ftp:21,989-990 ftp_data:20
gatekeeper:1721,7000 gdomap:538 gds_db:3050 gear:43273 geneve:6080 giftd:1213 git:9418 glance:9292
glance_registry:9191 gluster:24007-24027,38465-38469 gnome_remote_desktop:3389-3399 gopher:70 gpsd:2947
hadoop_datanode:50010 hadoop_namenode:8020 hddtemp:7634 howl:5335
hplip:1782,2207-2208,8290,8292,9100-9102,9220-9222,9280-9282,9290-9291,50000,50002
http:80-81,443,488,8008-8009,8443,9000 http_cache:8080,8118,8123,10001-10010 ibm_dt_2:1792 imaze:5323
inetd_child:1,9,13,19,512,544,891-892,5666 innd:119 intermapper:8181 interwise:7778 ionixnetmon:7410
ipp:631,8610-8614 ipsecnat:4500 ircd:6667,6697 iscsi:3260 isns:3205,51954 jabber_client:5222-5223
jabber_interserver:5269,5280 jabber_router:5347 jacorb:3528-3529 jboss_debug:8787
jboss_management:4447,4712,7600,9123,9990,9999,18001 jboss_messaging:5445,5455 journal_remote:19532
kerberos:88,750,4444 kerberos_admin:749 kerberos_password:464 keylime:8881,8892,9002 keystone:35357 kprop:754
kubernetes:4001,4194,10250 l2tp:1701 ldap:389,636,3268-3269,7389 lirc:8765 llmnr:5355 lltng:5345 lmtp:24,2003
lsm_plugin:18700 luci:8084 mail:2000,3905 mailbox:2004 matahari:49000 memcache:11211 milter:8890-8891,8893
mmcc:5050 mongod:27017-27019,28017-28019 monopd:1234 mountd:20048 movaz_ssc:5252 mpd:6600 ms_streaming:1755
msnp:1863 mssql:1433-1434 munin:4949 mxi:8005 mysqld:1186,3306,63132-63164 mysqlmanagerd:2273 mythtv:6543-6544
nessus:1241 netport:3129 netsupport:5404-5405 neutron:8775,9696-9697 nfs:2049,20048-20049 nmea:10110
nodejs_debug:5858 nsca:5667 nsd_control:8952 ntop:3000-3001 ntske:4460 oa_system:8022 ocsp:9080
opendnssec:15354 openflow:6633,6653 openhpid:4743 openqa:9526 openqa_liveview:9528 openqa_websockets:9527
openvpn:1194 openvswitch:6634 oracle:1521,2483-2484 osapi_compute:8774 ovsdb:6640 pdps:1314 pegasus_http:5988
pegasus_https:5989 pgpkeyserver:11371 pingd:9125 pki_ca:829,9180,9443-9447,9701
pki_kra:10180,10443-10446,10701 pki_ocsp:11180,11443-11446,11701 pki_ra:12888-12889
pki_tks:13180,13443-13446,13701 pki_tps:7888-7889 pktcable_cops:2126
pop:106,109-110,143,220,993,995,1109,10993 portmap:111 postfix_policyd:10031 postgresql:5432,9898
postgrey:60000 pptp:1723 prelude:4690 presence:5298-5299 preupgrade:8099 printer:515 priority_e_com:2618
prosody:5280-5281 ptal:5703 pulp:24816-24817 pulseaudio:4713 puppet:8140 qpasa_agent:2611-2612 rabbitmq:25672
radacct:1646,1813 radius:1645,1812,18120-18121 radsec:2083 razor:2703 redis:6379,16379,26379 repository:6363
ricci:11111 ricci_modcluster:16851 rkt:18112 rlogin:543,2105 rlogind:513 rndc:953,8953 router:521 rsh:514
rsync:873 rtp_media:5004-5005 rtsclient:2501 rtsp:554,8554 salt:4505-4506 sap:9875 saphostctrl:1128-1129
servistaitsm:3636 sge:6444-6445 shellinaboxd:4200 sieve:4190 sip:5060-5061 sixxsconfig:3874 smbd:137-139,445
smntubootstrap:2613 smtp:25,465,587 snmp:161-162,199,1161,10161-10162 soundd:8000,9433,16001
spamd:783,10026-10027 speech:8036 squid:3128,3401,4827 ssdp:1900 ssh:22 svn:3690 svrloc:427 swat:901
swift:6200-6203 sype_transport:9911 syslog_tls:6514,10514 syslogd:601,20514 tangd:7406 tcs:30003 telnetd:23
time:37 tor:6969,9001,9030,9050-9051,9150 tram:4567 transproxy:8081 trisoap:10200 trivnet1:8200 ups:3493
us_cli:8082-8083 uucpd:540 varnishd:6081-6082 versa_tek:2610 virt:16509,16514 virt_migration:49152-49216
virtual_places:1533 vnc:5900-5983,5985-5999 vqp:1589 wap_wsp:9200 websm:9090 whois:43,4321 winshadow:3161
wsdapi:5357 wsicopy:3378 xdmcp:177 xen:8002 xfs:7100 xinuexpansion3:2023 xinuexpansion4:2024 xmsg:1716
xodbc_connect:6632 xserver:6000-6020 zabbix:10051 zabbix_agent:10050 zarafa:236-237
zebra:2600-2604,2606,2608-2609 zented:1229 zookeeper_client:2181 zookeeper_election:3888 zookeeper_leader:2888
zope:8021
"""
_UDP = """
afs3_callback:7001 afs_bos:7007 afs_fs:7000,7005 afs_ka:7004 afs_pt:7002 afs_vl:7003 agentx:705
amanda:10080-10082 amqp:5671-5672 aol:5190-5193 apc:3052 apcupsd:3551 apertus_ldp:539 appswitch_emp:2616
asterisk:2427,2727,4569 babel:6696 bacula:9103 bctp:8999 bfd_control:3784 bfd_echo:3785 bfd_multi:4784
bgp:179,2605 boinc_client:1034 boothd:9929 chronyd:323 clockspeed:4041 cluster:5149,50006-50008 cma:1050
cmadmin:2617 collectd:25826 commplex_link:5001 commplex_main:5000 comsat:512 condor:9618 conman:7890
connlcli:1358 conntrackd:3780 couchdb:5984,6984 ctdb:4379 cvs:2401 cyphesis:32771 daap:3689 dcc:6276-6277
dccm:5679 dey_keyneg:8750 dhcpc:68,546,5546 dhcpd:67,547-548,647,847 dns:53,853 echo:7 embrace_dp_c:3198
epmap:135 epmd:4369 fac_restore:5582 firepower:2615 flash:1935 fmpro_internal:5003 freeipmi:9225 ftp:989-990
gatekeeper:1718-1719 gdomap:538 gds_db:3050 gear:43273 git:9418 glance:9292 glance_registry:9191 gopher:70
howl:5353 http:80,443 http_cache:3130 ibm_dt_2:1792 imaze:5323 inetd_child:1,9,13,19,891-892 interwise:7778
ionixnetmon:7410 ipmi:623,664 ipp:631,8610-8614 ipsecnat:4500 isakmp:500 isns:3205 jboss_debug:8787
jboss_management:4712,9123 kerberos:88,750,4444 kerberos_password:464 keystone:35357 ktalkd:517-518 l2tp:1701
ldap:389,636 llmnr:5355 lmtp:24 matahari:49000 memcache:11211 mmcc:5050 mountd:20048 movaz_ssc:5252
ms_streaming:1755 msnp:1863 mssql:1433-1434 munin:4949 mxi:8005 netport:3129 netsupport:5404-5405
nfs:2049,20048-20049 nmbd:137-138 nmea:10110 nodejs_debug:5858 ntop:3000-3001 ntp:123 oa_system:8022
opendnssec:15354 openhpid:4743 openvpn:1194 oracle:1521,2483-2484 pdps:1314 pgpkeyserver:11371
pktcable_cops:2126 portmap:111 pptp:1723 prelude:4690 presence:5298-5299 priority_e_com:2618 ptp_event:319
pulseaudio:4713 pxe:4011 pyzor:24441 qpasa_agent:2611-2612 radacct:1646,1813 radius:1645,1812,18120-18121
ricci:11111 ricci_modcluster:16851 rndc:953 router:520-521 rsync:873 rtp_media:5004-5005 rtsp:554,8554
rwho:513 sap:9875 servistaitsm:3636 sip:5060-5061 sixxsconfig:3874 smntubootstrap:2613
snmp:161-162,10161-10162 squid:3401,4827 ssdp:1900 statsd:8125 svn:3690 svrloc:427 sype_transport:9911
syslog_tls:6514,10514 syslogd:514,601,20514 tftp:69 time:37 traceroute:64000-64010 trisoap:10200 trivnet1:8200
us_cli:8082-8083 versa_tek:2610 virt:16509,16514 virtual_places:1533 vqp:1589 wap_wsp:9200 wccp:2048
websm:9090 whois:43,4321 winshadow:3261 wsdapi:5357 wsicopy:3378 xdmcp:177 xinuexpansion3:2023
xinuexpansion4:2024 xmsg:1716 zebra:2600-2604,2606,2608-2609 zented:1229
"""
_TABLES = {"tcp_socket": _TCP, "udp_socket": _UDP}

# The types of ports that are in no table, each with its last port; net.ipv4.ip_local_port_range has its own
# type.
_DEFAULT_TYPES = (
    (511, "reserved_port_t"),
    (1023, "hi_reserved_port_t"),
    (32767, "unreserved_port_t"),
    (60999, "ephemeral_port_t"),
    (65535, "unreserved_port_t"),
)


def types(kind: str, port: int) -> tuple[str, ...]:
    """The types of `port` for a socket of the class `kind`, sorted: mostly one. Empty for port 0, which stands
    for any free port and is not checked (hooks.c, selinux_socket_bind)."""
    if not 0 < port < 1 << 16:
        return ()
    return _table(kind).get(port) or (next(name for last, name in _DEFAULT_TYPES if port <= last),)


@functools.cache
def _table(kind: str) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    for entry in _TABLES.get(kind, "").split():
        name, _, ports = entry.partition(":")
        for part in ports.split(","):
            low, _, high = part.partition("-")
            for port in range(int(low), int(high or low) + 1):
                found.setdefault(port, []).append(f"{name}_port_t")
    return {port: tuple(sorted(names)) for port, names in found.items()}
