# SPDX-License-Identifier: GPL-2.0-or-later
"""Network cards: a Linux guest behind the address translation and on a bridge, and booting from the network."""
import hashlib
import random
import re

from lab.testing import boot_test, require, wait_for

TESTS = "/usr/share/escalus-tests"
BYTES, PARTS = 32 << 20, 32
# Models of `vif`, and the name of Linux' driver for each.
MODELS = {"virtio-net": "virtio_net", "rtl8139": "8139cp", "e1000": "e1000", "ne2k_pci": "ne2k-pci", "pcnet": "pcnet32"}


def _serve(context, address):
    """Serves 32 MiB at http://ADDRESS/data in the control OS; their checksum. The parts differ in their numbers."""
    part = random.Random(1).randbytes(BYTES // PARTS - 8)
    context.run("mkdir -p /tmp/www", check=True)
    context.lab.channel.put(part, "/tmp/www/part")
    context.run(f"[ -f /tmp/www/data ] || for i in $(seq {PARTS}); do printf %08d $i; cat /tmp/www/part; done >/tmp/www/data",
                check=True)
    context.run(f"httpd -p {address}:80 -h /tmp/www 2>/dev/null; true")
    wait_for("the server answers", lambda: context.run(f"wget -q -O /dev/null http://{address}/data").code == 0, 60)
    return hashlib.sha256(b"".join(b"%08d" % number + part for number in range(1, PARTS + 1))).hexdigest()


def _guest(context, name, vif, server, **more):
    return context.create(name, memory=256, kernel=f"{TESTS}/linux", ramdisk=f"{TESTS}/initramfs-linux",
                          extra=f"console=ttyS0 quiet escalus.run=network escalus.server={server} {context.kernel_words}",
                          vif=[vif], **more)


def _fetches(guest, driver, digest):
    said = guest.wait_serial(r"network: done", 600)
    require(re.search(rf"card: {driver} 00:16:3e:", said), f"another card, or another address:\n{said}")
    require("lease: " in said, f"no lease:\n{said}")
    require(f"fetched: {digest} {BYTES}" in said, f"the bytes are not the same:\n{said}")
    require("ping: answered" in said, f"no answer to ping:\n{said}")
    return said


def _nat(context, model, driver):
    digest = _serve(context, "127.0.0.1")
    guest = _guest(context, f"nat-{model}", f"type=user,model={model},hostfwd=tcp:127.0.0.1:8080-:80,dump=/tmp/nat.pcap",
                   "10.0.2.2")
    said = _fetches(guest, driver, digest)
    require("lease: 10.0.2.15 from 10.0.2.2" in said, said)
    done = context.run("wget -q -O - http://127.0.0.1:8080/ostype", timeout=120)
    require(done.text.strip() == "Linux", f"the forwarded port: {done}")
    head = context.run("head -c 4 /tmp/nat.pcap | od -An -tx1; wc -c </tmp/nat.pcap; rm /tmp/nat.pcap", check=True).text
    require(head.split()[:4] == ["d4", "c3", "b2", "a1"] and int(head.split()[4]) > BYTES, f"the dump: {head}")
    (context.artefacts / "stat.txt").write_text(context.run(["escalus", "stat", guest.name]).text)


DHCP = """start 10.9.8.10
end 10.9.8.20
interface testbr0
max_leases 5
lease_file /tmp/udhcpd.leases
pidfile /tmp/udhcpd.pid
option subnet 255.255.255.0
"""


def _bridged(context, model, driver):
    context.run("mkdir -p /tmp && touch /tmp/udhcpd.leases", check=True)
    context.lab.channel.put(DHCP.encode(), "/tmp/udhcpd.conf")
    guest = context.adopt(f"tap-{model}", context.domain(
        f"tap-{model}", memory=256, kernel=f"{TESTS}/linux", ramdisk=f"{TESTS}/initramfs-linux",
        extra=f"console=ttyS0 quiet escalus.run=network escalus.server=10.9.8.1 {context.kernel_words}",
        vif=[f"bridge=testbr0,vifname=test0,model={model}"]))
    # Paused, until the bridge that it makes has an address and a DHCP server.
    context.run(f"escalus create -d -p /tmp/{guest.name}.cfg >/tmp/{guest.name}.log 2>&1", check=True)
    try:
        require("testbr0 was made" in guest.log(), guest.log())
        context.run("ip addr add 10.9.8.1/24 dev testbr0 && udhcpd /tmp/udhcpd.conf", check=True)
        digest = _serve(context, "10.9.8.1")
        context.run(["escalus", "unpause", guest.name], check=True)
        said = _fetches(guest, driver, digest)
        address = re.search(r"lease: (10\.9\.8\.\d\d) from 10\.9\.8\.1", said)
        require(address, said)
        context.run(f"ping -c 2 -W 20 {address[1]}", check=True)
        require(context.run(f"wget -q -O - http://{address[1]}/ostype").text.strip() == "Linux", "no page of the guest's")
        (context.artefacts / "stat.txt").write_text(context.run(["escalus", "stat", guest.name]).text)
        # The cable is pulled: the guest sees it, and goes on.
        context.run("ip link del test0", check=True)
        if driver != "ne2k-pci":  # the chip has no bit for it
            guest.wait_serial(r"carrier: 0", 60)
        wait_for("the removal is logged",
                 lambda: "link is down" in context.run(f"cat /run/escalus/{guest.name}/log").text, 60)
        log = context.run(f"cat /run/escalus/{guest.name}/log").text
        require(log.count("the link is down") == 1, f"the removal is not logged once:\n{log}")
        require(guest.state() is not None, "the guest is gone")
    finally:
        context.run("kill $(cat /tmp/udhcpd.pid); ip link del testbr0; true")


def _boots_by_pxe(context, model, _driver):
    """iPXE, from the card's ROM, gets a script by TFTP from the built-in server, and runs it."""
    context.run("mkdir -p /tmp/tftp && chmod 755 /tmp/tftp", check=True)
    script = "#!ipxe\necho network boot: ${net0/ip} by ${net0/chip}\nsleep 600\n"
    context.lab.channel.put(script.encode(), "/tmp/tftp/hello.ipxe")
    context.run("chmod 644 /tmp/tftp/hello.ipxe", check=True)
    guest = context.create(f"pxe-{model}", display=0, boot="n",
                           vif=[f"type=user,model={model},tftp=/tmp/tftp,bootfile=hello.ipxe"])
    guest.wait_text(r"network boot: 10\.0\.2\.15 by", 400)
    guest.keep_text("pxe")
    guest.picture("pxe")


# Each model and each way once in the daily run; the rest is behind --long for its time (a quarter of an hour).
DAILY = {("nat", "virtio-net"), ("tap", "e1000"), ("pxe", "rtl8139")}
for _model, _linux_driver in MODELS.items():
    for _name, _what, _body in (
            ("nat", "DHCP, 32 MiB by HTTP, ping and a forwarded port through the address translation", _nat),
            ("tap", "the same on a bridge; the guest sees its interface removed", _bridged),
            ("pxe", "iPXE from the card's ROM boots by the built-in TFTP server", _boots_by_pxe)):
        boot_test(f"net-{_name}-{_model}", f"{_model}: {_what}", long=(_name, _model) not in DAILY)(
            lambda context, body=_body, model=_model, driver=_linux_driver: body(context, model, driver))
