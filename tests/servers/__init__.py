"""Real servers on loopback for tests, started once a session on free ports and stopped by process id.

    def test_something(s3, redis_server, fault_proxy, hosts): ...

needs.py     what a test needs and this machine may not have: the one rule when it skips and when it fails
s3.py        the address of an S3 server, and a bare client of it that shares no code with kept
swift.py     `s3`: OpenStack Swift, with authentication, on disk; can be killed and started again
moto.py      `quick_s3`: up within a second, on any Python; knows no authentication
redis.py     `redis_server`: one that keeps nothing on disk
hosts.py     `hosts`: two hosts, each with an address, a name and a disk of its own
proxy.py     `fault_proxy`: between a client and an S3 server; counts requests, and does what networks do
clock.py     a process whose clock is wrong
fixtures.py  the fixtures, which tests/conftest.py hands to all tests
"""
