# SPDX-License-Identifier: MIT
# packages: openjdk-17-jdk-headless
# commands: java javac
# does: HotSpot with G1 and with the serial collector: maps, sorting, threads, compiled code
# version: java -version
. "$(dirname "$0")/common.sh"

prepare() {
	cat >"$input/Work.java" <<'JAVA'
import java.util.*; import java.util.stream.*; import java.security.*;
public class Work {
  static String work(int seed) throws Exception {
    Map<String, int[]> table = new HashMap<>();
    for (int i = 0; i < 60000; i++) table.put("key " + (i * 7919 + seed) % 30011, new int[] {i, i * 2, seed, i % 7, 1, 2, 3, 4});
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    for (String key : new TreeSet<>(table.keySet())) digest.update((key + Arrays.toString(table.get(key))).getBytes());
    return HexFormat.of().formatHex(digest.digest());
  }
  public static void main(String[] args) throws Exception {
    List<int[]> keep = new ArrayList<>();
    for (int i = 0; i < 30; i++) { int[] a = new int[100000]; Arrays.setAll(a, n -> n * 31); keep.add(a); }
    System.out.println(work(1));
    String[] results = new String[3];
    Thread[] threads = new Thread[3];
    for (int i = 0; i < 3; i++) { int n = i; threads[i] = new Thread(() -> { try { results[n] = work(n + 2); } catch (Exception e) { results[n] = "" + e; } }); threads[i].start(); }
    for (Thread thread : threads) thread.join();
    System.out.println(String.join(" ", results));
    System.out.println(IntStream.range(0, 500000).parallel().mapToLong(n -> (long) n * n % 1009).sum());
    System.gc();
    System.out.println(keep.stream().mapToLong(a -> Arrays.stream(a).asLongStream().sum()).sum());
    Process process = new ProcessBuilder("sh", "-c", "echo child; exit 5").inheritIO().start();
    System.out.println(process.waitFor());
  }
}
JAVA
	javac -d "$input" "$input/Work.java"
}

work() {
	java -XX:+UseSerialGC -Xmx96m -XX:-UsePerfData -cp "$input" Work
	java -XX:+UseG1GC -Xmx96m -XX:+AlwaysPreTouch -XX:-UsePerfData -cp "$input" Work
}

matrix "$@"
