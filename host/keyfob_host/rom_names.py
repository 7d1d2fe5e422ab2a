"""Names that MicroPython has already, read from its sources for 1.25 to 1.29.

A name that stands in an interpreter's read-only memory costs no heap when a module uses
it. How the lists were made: the C sources went through the preprocessor with the ESP8266's
settings (``MP_QSTR_*``), the modules frozen into its images of 2 MB through mpy-cross (the
names of their qstr tables); kept is what 1.25.0, 1.26.1, 1.27.0, 1.28.0 and 1.29 all have.
Special names (``__x__``) are left out, but for those that belong to the format.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Version 6 of the .mpy format gives these numbers, from 1 on, by their place in this list:
# `static_qstr_list` in MicroPython's py/makeqstrdata.py.
STATIC = (
    *("", "__dir__", "\n", " "),
    *_words("""
* / <module> _ __call__ __class__ __delitem__ __enter__ __exit__ __getattr__ __getitem__
__hash__ __init__ __int__ __iter__ __len__ __main__ __module__ __name__ __new__ __next__
__qualname__ __repr__ __setitem__ __str__ ArithmeticError AssertionError AttributeError
BaseException EOFError Ellipsis Exception GeneratorExit ImportError IndentationError IndexError
KeyError KeyboardInterrupt LookupError MemoryError NameError NoneType NotImplementedError
OSError OverflowError RuntimeError StopIteration SyntaxError SystemExit TypeError ValueError
ZeroDivisionError abs all any append args bool builtins bytearray bytecode bytes callable chr
classmethod clear close const copy count dict dir divmod end endswith eval exec extend find
format from_bytes get getattr globals hasattr hash id index insert int isalpha isdigit
isinstance islower isspace issubclass isupper items iter join key keys len list little locals
lower lstrip main map micropython next object open ord pop popitem pow print range read readinto
readline remove replace repr reverse rfind rindex round rsplit rstrip self send sep set setattr
setdefault sort sorted split start startswith staticmethod step stop str strip sum super throw
to_bytes tuple type update upper utf-8 value values write zip
"""),
)

# Further ones of the ESP8266's images of 2 MB that the unix port has as well.
IN_EVERY_ROM = _words(
    """
AF_INET AF_INET6 ARRAY AUTO BFINT16 BFINT32 BFINT8 BFUINT16 BFUINT32 BFUINT8 BF_LEN BF_POS
BIG_ENDIAN BytesIO CERT_NONE CancelledError Connection D DELETE DeflateIO Done E EACCES
EADDRINUSE EAGAIN EALREADY EBADF ECONNABORTED ECONNREFUSED ECONNRESET EEXIST EHOSTUNREACH
EINPROGRESS EINVAL EIO EISDIR ENOBUFS ENODEV ENOENT ENOMEM ENOTCONN EOPNOTSUPP EPERM ETIMEDOUT
Event FLOAT32 FLOAT64 FileIO FrameBuffer FrameBuffer1 GET GS2_HMSB GS4_HMSB GS8 GZIP HEAD Host
IOBase IOQueue LITTLE_ENDIAN Lock Loop MONO_HLSB MONO_HMSB MONO_VLSB MVLSB NATIVE OrderedDict
PATCH POLLERR POLLHUP POLLIN POLLOUT POST PROTOCOL_TLS_CLIENT PROTOCOL_TLS_SERVER PTR PUT RGB565
Response RingIO SOCK_DGRAM SOCK_RAW SOCK_STREAM SOL_SOCKET SO_BROADCAST SO_REUSEADDR SSLContext
SSLSocket Server Signal SingletonGenerator StopAsyncIteration Stream StreamReader StreamWriter
StringIO Task TaskQueue TextIOWrapper ThreadSafeFlag TimeoutError UINT UINT64 ULONG ULONGLONG
USHORT UnicodeError VOID VfsFat VfsLfs2 VfsRom ViperTypeError ZLIB _Remove _asyncio _attrs
_cached _check_exists _chunk _dequeue _download_file _enqueue _ensure_path_exists _exc_context
_exc_handler _install_json _install_package _io_queue _machine _mpy _promote_to_task
_rewrite_url _run _serve _stop_task _stopper _task_queue a2b_base64 accept aclose acos acquire
addressof aes appendleft argv asin atan atan2 auth awritestr b2a_base64 backlog bin binascii
bind blit bound_method branch buffer buffering bytearray_at byteorder bytes_at calcsize
call_exception_handler cancel cb ceil chdir chunked closure collect collections compile connect
content copysign core coro create_task cryptolib cur_task current_task d data dc decode
default_exception_handler deflate degrees delattr delete deleter deps deque dest dict_view
digest disable discard do_handshake_on_connect doc done drain dt dump dumps e ellipse enable
encode encrypt enumerate errno errorcode exc exc_type exit fabs fill fill_rect filter flags
floor flush fmod framebuf frexp fromhex fromkeys frozenset funcs function future gc generator
get_event_loop get_exception_handler get_extra_info getaddrinfo getcwd getrandbits getter
getvalue gmtime group hashes hashlib heap_lock heap_unlock heapify heappop heappush heapq help
hline host i idle idx ilistdir implementation input install intersection intersection_update
invert ioctl ipoll is_set isdisjoint isenabled isfinite isinf isnan issubset issuperset j
kbd_intr latest ldexp libc_ver listen load load_cert_chain load_verify_locations loads localtime
log lookahead main_task makefile malloc match max maxsize mem16 mem32 mem8 mem_alloc mem_free
mem_info memoryview message min mkdir mkfs mktime modf modify module modules n namedtuple
new_event_loop newline oct off open_connection opt_level out_buf pack_into package_json_url
parse_headers patch path peek peername pend_throw ph_key phase pi pixel platform poll poller
poly popleft post print_exception progsize property ptr ptr16 ptr32 ptr8 python_compiler
qstr_info queue_read queue_write r radians rb readblocks readexactly readlines readonly readsize
reason recv recvfrom release rename req request requesting requests return_exceptions reversed
rmdir rpartition run_forever run_until_complete runq_len s schedule scroll search seed seek
select sendall sendto separators server_hostname server_side set_exception_handler setblocking
setsockopt setter settimeout sgen sha1 sha256 short_hash sizeof sleep sleep_ms sleep_us slice
socket soft_reset sqrt src ssl stack_use start_server stat state status_code statvfs stderr
stdin stdout stream stream_awrite struct sub symmetric_difference symmetric_difference_update sz
t tb tell threshold ticks ticks_add ticks_cpu ticks_diff ticks_ms ticks_us time_ns time_pulse_us
tls trunc uctypes umount unhexlify union unlink unpack_from unregister urandom urls usys
verify_mode version_info vline w wait_closed wait_for wait_for_ms wait_io_event waiter waiting
waitq_len wb websocket wrap_socket writeblocks
"""
)

# Further ones of the ESP8266's images of 2 MB.
IN_ESP8266_ROM = _words(
    """
ADC ADDR_LEN ALARM0 APA102 AP_IF AUTH_OPEN AUTH_WEP AUTH_WPA2_PSK AUTH_WPA_PSK AUTH_WPA_WPA2_PSK
BASE CLEAR CONFIG DEBUG DEEPSLEEP DEEPSLEEP_RESET DELAY DESC DHT11 DHT22 DHTBase DS18X20 ESPNow
ESPNowBase Error Exception FlashBdev GeneratorExit HARD_RESET HSPI I2C IF_AP IF_STA IN INCL INT
INT16 INT32 INT64 INT8 IPPROTO_IP IPPROTO_TCP IP_ADD_MEMBERSHIP IP_DROP_MEMBERSHIP IRQ
IRQ_FALLING IRQ_RISING KEY_LEN LONG LONGLONG LS LSB MATCH_ROM MAX_DATA_LEN MAX_ENCRYPT_PEER_NUM
MAX_TOTAL_PEER_NUM MODE_11B MODE_11G MODE_11N MQTTClient MQTTException MSB Man NeoPixel ONE_SHOT
OPEN_DRAIN ORDER OUT OneWire OneWireError PASS PERIODIC PM_NONE PM_PERFORMANCE PM_POWERSAVE
PULL_UP PWD PWM PWRON_RESET Pin RAW RC RTC SEARCH_ROM SEC_OPEN SEC_SIZE SEC_WEP SEC_WPA SEC_WPA2
SEC_WPA_WPA2 SET_CHARGE_PUMP SET_COL_ADDR SET_COM_OUT_DIR SET_COM_PIN_CFG SET_CONTRAST SET_DISP
SET_DISP_CLK_DIV SET_DISP_OFFSET SET_DISP_START_LINE SET_ENTIRE_ON SET_IREF_SELECT SET_MEM_ADDR
SET_MUX_RATIO SET_NORM_INV SET_PAGE_ADDR SET_PRECHARGE SET_SEG_REMAP SET_VCOM_DESEL SHORT
SKIP_ROM SLEEP_LIGHT SLEEP_MODEM SLEEP_NONE SOFT_RESET SPI SSD1306 SSD1306_I2C SSD1306_SPI
STAT_CONNECTING STAT_CONNECT_FAIL STAT_GOT_IP STAT_IDLE STAT_NO_AP_FOUND STAT_WRONG_PASSWORD
STA_IF SoftI2C SoftSPI StopIteration TCP_NODELAY Timer TypeError UART UINT16 UINT32 UINT8 WDT
WDT_RESET WLAN _context _data _espnow _none_tuple _onewire _ow _poll _recv_len _search_rom
_send_str _webrepl a0 a1 a10 a11 a12 a13 a14 a15 a2 a3 a4 a5 a6 a7 a8 a9 abs accept_conn
accept_handler action active add add_peer addi addr addr4 addrsize alarm alarm_left align all
alloc_emergency_exception_buf and_ apa102_write arg array ascii asm_xtensa asyncio attempts attr
authmode aw awrite ball bany base_path baudrate bbc bbs bdev beq beqz bge bgeu bits bitstream
blocks blt bnall bne bnez bnone bpp bssid btree buf bytearray bytecode bytes cachesize cadata
cafile callable callback callx0 cat cd cert cert_reqs certfile change_daemon channel
check_bootsec check_fw check_msg child choices cl clean_session client_id client_s clock_pin
close cmd config context contrast convert_temp cos count country cp crc8 cs data_pin datetime
decrypt deepsleep default deinit del_peer delay dhcp dhcp4 dhcp_hostname dht_readinto diff
difference difference_update dir disable_irq disabled disconnect dns do_handshake dupterm
dupterm_notify duty duty_ns duty_u16 enable_irq enabled encoding end er esf_free_bufs esp essid
event exception exists exp external_vcc f feed file find firstbit flash_erase flash_id
flash_read flash_size flash_user_start flash_write flashbdev float fname free freemem freq
fs_corrupted gather get get_daemon_status getattr getpass gw4 h1 h2 handler hard hash head
headers heap height hex hexlify hidden hostname humidity i2c id ifconfig in_reconnect index
inisetup init init_display input_choice input_pass int io ipconfig irecv irq isconnected items
iter iterable iterator json jx keepalive key keyfile keys l16si l16ui l32i l8ui l_rom label len
lightsleep line listdir listen_s listen_sock lock locked loop lower ls lw_msg lw_qos lw_retain
lw_topic lwip mac machine man math measure mem memaddr meminfo memory method minkeypage miso
mode mosi mount mov mov_n movi mpy msg mtime mull mv name native neopixel network newfile node
nodename object on onewire op opt or_ os osdebug ow pack package pages pagesize parity password
period ph_child ph_child_last ph_delete ph_meld ph_next ph_pairing ph_rightmost_parent phy_mode
pid pin ping pm polarity pop port poweroff poweron print_pcbs prompt protocol pswd publish pull
push put pwd py pyb pyboard qos random range rate raw re read read_scratch read_temp read_u16
readbit readbyte readfrom readfrom_into readfrom_mem readfrom_mem_into reconnect rect recursive
recvinto register rejected required res reset reset_cause ret_n retain rm rom rom_ioctl rotate
rssi run rwb rx rxbuf s16i s32i s8i scan sck scl sda security select_rom send_html seq server
server_handshake set set_callback set_last_will set_native_code_location set_pmk setattr settime
setup setup_conn show simple sin size sleep_type sock spi split ssid ssl_params start_foreground
start_sec static_host stations status step str strip subscribe sync sys sysname tan target task
temp temperature text throw tick_hz time timeout timeout_char timeout_ms timing toggle topic
trigger tuple tx txdone txpower type uint uname unique_id unpack update upper url user v val
value values version vfs viper wait wait_msg wake webrepl webrepl_cfg width wifi write write_cmd
write_data write_list write_readinto write_scratch writebit writebyte writeto writeto_mem
writevto xor y
"""
)

# Of all these, what the interpreter or its frozen modules look up in objects of an
# application: streams, file systems, iterators, exceptions, tasks.
LOOKED_UP = frozenset(
    _words(
        """
aclose add append args awrite call_exception_handler cancel chdir close coro count data decode
default_exception_handler discard done drain encode errno extend flush format get get_extra_info
getcwd ilistdir index ioctl irq items keys listdir mkdir mount open pend_throw pop
print_exception read readblocks readexactly readinto readline readlines remove rename rmdir seek
send setblocking sort start stat state statvfs step stop sync tell throw umount unlink update
value values wait_closed write writeblocks
"""
    )
)

# What else is called something by the ports for ESP32, ESP8266 and unix, in any variant.
ELSEWHERE = frozenset(
    _words(
        """
ADCBlock APA106 ATTN_0DB ATTN_11DB ATTN_2_5DB ATTN_6DB AUTH_CHAP AUTH_MAX AUTH_NONE AUTH_OWE
AUTH_PAP AUTH_WAPI_PSK AUTH_WPA2_ENTERPRISE AUTH_WPA2_WPA3_PSK AUTH_WPA3_ENT_192
AUTH_WPA3_EXT_PSK AUTH_WPA3_EXT_PSK_MIXED_MODE AUTH_WPA3_PSK BANDWIDTH_160 BANDWIDTH_20
BANDWIDTH_40 BANDWIDTH_80 BANDWIDTH_80_80 BINARY_OP BLE BOOT BUILD_LIST BUILD_MAP BUILD_SET
BUILD_SLICE BUILD_TUPLE BUILTIN_CDC BUILTIN_CDC_MSC BUILTIN_DEFAULT BUILTIN_MSC BUILTIN_NONE
BodyStream BufferedWriter CALL_FUNCTION CALL_FUNCTION_VAR_KW CALL_METHOD CALL_METHOD_VAR_KW CAN
CERT_OPTIONAL CERT_REQUIRED CTS CYW43 Counter DAC DECREMENT DELETE_DEREF DELETE_FAST
DELETE_GLOBAL DELETE_NAME DOWN DRIVE_0 DRIVE_1 DRIVE_2 DRIVE_3 DUP_TOP DUP_TOP_TWO
ENDPOINT_ADDR_ANY END_FINALLY ESPHOSTED ETH_CONNECTED ETH_DISCONNECTED ETH_GOT_IP
ETH_INITIALIZED ETH_STARTED ETH_STOPPED EXT0_WAKE EXT1_WAKE Encoder Endpoint FALLING FILTERS_MAX
FLAG_EXT_ID FLAG_INDICATE FLAG_NOTIFY FLAG_READ FLAG_RTR FLAG_UNORDERED FLAG_WRITE
FLAG_WRITE_NO_RESPONSE FOO FOR_ITER GET_ITER GET_ITER_STACK GIL HEAP_DATA HEAP_EXEC HOLD
I2CTarget I2S IGNORE IMPORT_FROM IMPORT_NAME IMPORT_STAR INCREMENT INV_CTS INV_RTS INV_RX INV_TX
IPPROTO_ICMP IPPROTO_IPV4 IPPROTO_IPV6 IPPROTO_RAW IPPROTO_UDP IRQ_ADDR_MATCH_READ
IRQ_ADDR_MATCH_WRITE IRQ_BREAK IRQ_END_READ IRQ_END_WRITE IRQ_MAX IRQ_MIN IRQ_READ_REQ IRQ_RX
IRQ_RXIDLE IRQ_STATE IRQ_THRESHOLD0 IRQ_THRESHOLD1 IRQ_TX IRQ_TX_FAILED IRQ_TX_IDX_MASK
IRQ_TX_IDX_SHIFT IRQ_WRITE_REQ IRQ_ZERO Interpolation JUMP JUMP_IF_FALSE_OR_POP
JUMP_IF_TRUE_OR_POP LAN LDO LOAD_ATTR LOAD_BUILD_CLASS LOAD_CONST_FALSE LOAD_CONST_NONE
LOAD_CONST_OBJ LOAD_CONST_SMALL_INT LOAD_CONST_STRING LOAD_CONST_TRUE LOAD_DEREF LOAD_FAST
LOAD_FAST_N LOAD_GLOBAL LOAD_METHOD LOAD_NAME LOAD_NULL LOAD_SUBSCR LOAD_SUPER_METHOD LOG_DEBUG
LOG_ERROR LOG_INFO LOG_NONE LOG_VERBOSE LOG_WARNING LockType MAKE_CLOSURE MAKE_CLOSURE_DEFARGS
MAKE_FUNCTION MAKE_FUNCTION_DEFARGS MBEDTLS_VERSION MODE_CBC MODE_CTR MODE_ECB MODE_LOOPBACK
MODE_LR MODE_NORMAL MODE_SILENT MODE_SILENT_LOOPBACK MODE_SLEEP MONO MSG_DONTWAIT MSG_PEEK
NORMAL NULL NVS NotImplemented OPEN PCNT PHY_DM9051 PHY_DP83848 PHY_GENERIC PHY_IP101
PHY_KSZ8041 PHY_KSZ8081 PHY_KSZ8851SNL PHY_LAN8670 PHY_LAN8710 PHY_LAN8720 PHY_OPENETH
PHY_RTL8201 PHY_W5500 PIN_WAKE POP_JUMP_IF_FALSE POP_JUMP_IF_TRUE POP_TOP PPP PROTOCOL_DEFAULT
PROTOCOL_DTLS_CLIENT PROTOCOL_DTLS_SERVER PROTOCOL_LR PULL_DOWN PULSE_MAX Partition PinBase
RAISE_FROM RAISE_LAST RAISE_OBJ RATE_11M RATE_12M RATE_1M RATE_24M RATE_2M RATE_54M RATE_5M
RATE_6M RATE_LORA_250K RATE_LORA_500K RECV_ERR_FULL RECV_ERR_OVERRUN RESERVE_MEM RETURN_VALUE
REVERSE RISING RMT ROT_THREE ROT_TWO RTS RUNNING RX RemoteProc SDCard SEC_CHAP SEC_DPP SEC_NONE
SEC_OWE SEC_PAP SEC_WAPI SEC_WPA2_ENT SEC_WPA2_WPA3 SEC_WPA2_WPA3_ENT SEC_WPA3 SEC_WPA3_ENT
SEC_WPA3_ENT_192 SEC_WPA3_EXT_PSK SEC_WPA3_EXT_PSK_MIXED_MODE SEC_WPA_ENT SETUP_EXCEPT
SETUP_FINALLY SETUP_WITH SLEEP SO_BINDTODEVICE SO_KEEPALIVE SO_RCVTIMEO SO_SNDTIMEO STATE_ACTIVE
STATE_BUS_OFF STATE_PASSIVE STATE_STOPPED STATE_WARNING STAT_ASSOC_FAIL STAT_BEACON_TIMEOUT
STAT_HANDSHAKE_TIMEOUT STAT_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD STAT_NO_AP_FOUND_IN_RSSI_THRESHOLD
STAT_NO_AP_FOUND_W_COMPATIBLE_SECURITY STEREO STORE_ATTR STORE_COMP STORE_DEREF STORE_FAST
STORE_FAST_N STORE_GLOBAL STORE_MAP STORE_NAME STORE_SUBSCR TIMER_WAKE TOUCHPAD_WAKE TX
TX_QUEUE_LEN TYPE_APP TYPE_DATA Template TouchPad ULP ULP_WAKE UNARY_OP UNPACK_EX
UNPACK_SEQUENCE UNWIND_JUMP UP USBD_NCM USBDevice UUID VfsLfs1 VfsPosix VirtIODev WAKEUP_ALL_LOW
WAKEUP_ANY_HIGH WAKE_HIGH WAKE_LOW WEP WIDTH_10BIT WIDTH_11BIT WIDTH_12BIT WIDTH_13BIT
WIDTH_9BIT WITH_CLEANUP WIZNET5K WPA_PSK XFER_FAILED XFER_STALLED XFER_SUCCESS YIELD_FROM
YIELD_VALUE _CHUNK_SIZE _CounterBase _HOSTS _INSTANCES _PCNT _PCNT_RANGE _args _asdict _build
_configure _dir__ _dot_frozen _encode_len _kwargs _offset _overflow _overflows _path _pcnt
_phases _remaining _send_subunsub _sock _thread _unit_id _v2 abs_tol ack_n ack_op acosh addr6
addr_mode adjust_voltage adjustable adv_data alive allocate_lock allowed_mip_url_prefixes
antenna as_bytearray asinh asm_rv32 asm_thumb atanh atexit atten autoconf6 b bandwidth bcc bccz
big bit_branch bitrate bitstream_channel bitstream_rmt block block_size bluetooth board bond
bootloader buffer_size builtin_driver busy call call0 cancel_send center cfun channel_id choice
cipher clk_in clk_out clock clock_div cls cmath co_code co_consts co_filename co_firstlineno
co_lines co_lnotab co_name co_names code commit complex connectable control_xfer_cb conversion
cosh crc32 crs_dv csi_available csi_disable csi_dropped csi_enable csi_read cts current deadbeef
desc_cfg desc_dev desc_strs detach dhcp6 direction drive ecdsa_sign_callback edge empty entry
env ep_max erase_key erf erfc esp32 exc_info exc_tb exc_val execfile executable expm1 expression
extra_coverage extra_cpp_coverage f0 f_back f_code f_globals f_lasti f_lineno factorial falling
ffi fficallback ffifunc ffimod ffivar fileno filter_ns finalize flow format_spec frame fs func
fw_version gamma gap_advertise gap_connect gap_disconnect gap_name gap_pair gap_passkey gap_scan
gattc_discover_characteristics gattc_discover_descriptors gattc_discover_services
gattc_exchange_mtu gattc_read gattc_write gatts_indicate gatts_notify gatts_read
gatts_register_services gatts_set_buffer gatts_write get_blob get_ciphers get_counters get_i32
get_ident get_next_update get_peer get_peers get_timings getenv getpeercert getsizeof
gpio_deep_sleep_hold gpio_matrix_in gpio_matrix_out groups has_autoconf6 has_dhcp4 hci_cmd
heap_locked hold ibuf idf_heap_info idf_task_info idle_level ifidx ifname ignore imag indices
inet_ntop inet_pton inf info intern interpolations interval_us is_ready isclose itemsize itf_max
jclass jmethod jni jobject keepends kwargs l2cap_connect l2cap_disconnect l2cap_listen
l2cap_recvinto l2cap_send l32r ldo le_secure length level lgamma lmk load_binary location log10
log2 loop_count mark_app_valid_cancel_rollback marshal mask max_clients mck mcu_temperature md5
mdc mdio mem_addrsize mem_backup mem_current mem_peak mem_total mitm mod_peer mode_high mode_low
mode_pin module_name monitor mtu nan new_service_callback nina num_symbols opaqueval opcode
open_itf_cb openamp overflows p partition passive pcnt peer_count peers_table phase_a phase_b
phases phy_addr phy_type pins pkt polar power prefer preview processor ps1 ps2 psk_identity
psk_key putenv pystack_use randint randrange raw_temperature read1 read_timed read_uv readchar
readinto1 real reconnects recv_into ref ref_clk ref_clk_mode regs rel_tol remaining
remote_wakeup reset_cb resolution_hz resp_data restart result rising route rts rxd0 rxd1
sample_point sd send_ethernet sendbreak server_psk_keys set_blob set_boot set_buf set_ciphers
set_error set_filters set_i32 set_wakeup_period setraw settrace shift shutdown signed single
sinh sjw slip slot sockaddr source_freq span splitlines stack_size stall start_new_thread stats
stest_fileio stest_textio2 str_max string string_dot_templatelib strings submit_xfer subtype
system tanh tau tcgetattr tcsetattr templatelib termios threshold0 threshold1 trace
tracebacklimit tseg1 tseg2 tx_carrier tx_en txbuf txd0 txd1 typ uniform unit_id unsafe unsetenv
unsubscribe username utf8 var verify_callback voltage_mv wait_done wake_on_ext0 wake_on_ext1
wake_on_gpio wake_on_touch wake_on_ulp wake_pins wake_reason weakref wp write1 write_pulses
writechar ws x xfer_cb xxx xxxx
"""
    )
)
