/* Does nothing, and ends with 5. */
int main(void)
{
	return 5;
}
