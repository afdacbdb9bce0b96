package extra;

/** In a jar of the class path. */
public final class Extra {
    public static String word() {
        return "extra and " + Further.word();
    }
}
